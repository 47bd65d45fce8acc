//go:build linux

// Command benchmarks measures seer against what it could be replaced by, and
// prints a table of ratios:
//
//	go run ./benchmarks [-only S3,S4] [-n runs]
//
// The sides of a measure run in turn, so that a machine that is busy with
// something else is equally busy for each of them, and their medians count.
// docs/performance.md tells what the rows mean. S1 needs python3 with venv, git and
// a package index; its first run builds images.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
)

func main() {
	if kind := os.Getenv(serverVariable); kind != "" {
		exit(serveWorld(kind, os.Stdin, os.Stdout))
	}
	only := flag.String("only", "", "comma-separated measures to take, such as S3,S4; empty takes all")
	runs := flag.Int("n", 30, "how often the quick measures run; slow ones run less")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Stdout, *only, max(*runs, 1))
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type measure struct {
	name string
	take func(context.Context, *bench) error
}

// measures are all there are, in the order of the table.
func measures() []measure {
	return []measure{
		{"S1", versusPython},
		{"S2", billedStart},
		{"S3", execOverhead},
		{"S4", uploads},
		{"S5", cells},
		{"S6", scopedCalls},
		{"S7", manySandboxes},
		{"S8", localBackend},
		{"S9", countCalls},
		{"S10", growth},
		{"S16", largeFile},
	}
}

func run(ctx context.Context, w io.Writer, only string, runs int) (err error) {
	var wanted []string
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, name := range wanted {
		if !slices.ContainsFunc(measures(), func(m measure) bool { return m.name == name }) {
			return fmt.Errorf("no measure %q", name)
		}
	}
	b := &bench{w: w, runs: runs}
	defer func() { err = errors.Join(err, b.close()) }()
	b.head()
	for _, m := range measures() {
		if wanted != nil && !slices.Contains(wanted, m.name) {
			continue
		}
		b.measure = m.name
		if err := m.take(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}
