//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
)

// tally counts tests; what a test does in parts is one test.
type tally struct {
	passed, skipped int
	failed          []string
	output          map[string]string // of those that failed
}

// event is a line of what `go tool test2json` prints.
type event struct {
	Action, Test, Output string
}

// whole stands for what no single test is to blame for: a crash, a leak at the end.
const whole = "the suite as a whole"

// count reads the events of one run to its end.
func count(events io.Reader) (*tally, error) {
	t := &tally{output: map[string]string{}}
	texts := map[string]string{}
	running := map[string]bool{}
	ended := false
	decoder := json.NewDecoder(events)
	for {
		var e event
		err := decoder.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read results: %w", err)
		}
		name, _, part := strings.Cut(e.Test, "/")
		switch {
		case e.Action == "output":
			texts[name] += e.Output
		case name == "":
			ended = e.Action == "pass"
		case part:
		case e.Action == "run":
			running[name] = true
		case e.Action == "pass" || e.Action == "skip" || e.Action == "fail":
			delete(running, name)
			t.end(name, e.Action, texts[name])
		}
	}
	if len(running) > 0 || !ended && len(t.failed) == 0 {
		t.end(whole, "fail", fmt.Sprintf("%s%d tests did not end\n", texts[""], len(running)))
	}
	return t, nil
}

func (t *tally) end(name, how, output string) {
	switch how {
	case "pass":
		t.passed++
	case "skip":
		t.skipped++
	default:
		t.failed = append(t.failed, name)
		t.output[name] = output
	}
}

// add counts another run's tests as well.
func (t *tally) add(other *tally) {
	t.passed += other.passed
	t.skipped += other.skipped
	t.failed = append(t.failed, other.failed...)
	maps.Copy(t.output, other.output)
}

func (t *tally) err() error {
	switch {
	case len(t.failed) > 0:
		return fmt.Errorf("%d tests failed: %s", len(t.failed), strings.Join(t.failed, ", "))
	case t.passed == 0:
		return errors.New("no test passed")
	default:
		return nil
	}
}
