package seer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
)

// request is what the Python side is asked to do.
type request struct {
	Op     string            `json:"op"`
	Values map[string]string `json:"values,omitempty"`
	// Libraries is where packages lie that may have come since Python started.
	Libraries string `json:"libraries,omitempty"`
	Code      string `json:"code"`
	ID        string `json:"id,omitempty"`    // of the run; its first and last event carry it
	Limit     int64  `json:"limit,omitempty"` // bytes to send of what the code shows
}

// event is what the Python side tells, or whoever writes to its descriptors.
type event struct {
	Event     string          `json:"event"`
	ID        string          `json:"id"`
	PID       int             `json:"pid"`
	Name      string          `json:"name"`
	Text      string          `json:"text"`
	Data      forms           `json:"data"`
	Metadata  json.RawMessage `json:"metadata"`
	DisplayID string          `json:"display_id"`
	Wait      bool            `json:"wait"`
	Value     string          `json:"value"`
	Traceback string          `json:"traceback"`
	Bytes     int64           `json:"bytes"`
}

// output is what the event shows, if it shows something.
func (e *event) output() (jupyter.Output, bool) {
	o := jupyter.Output{Data: jupyter.MIMEBundle(e.Data), DisplayID: e.DisplayID}
	if len(e.Metadata) > len("{}") {
		o.Metadata = e.Metadata
	}
	switch e.Event {
	case "stream":
		return jupyter.Output{Type: jupyter.OutputStream, Name: streamName(e.Name), Text: e.Text}, true
	case "result":
		o.Type = jupyter.OutputResult
	case "display":
		o.Type = jupyter.OutputDisplay
	case "update":
		o.Type = jupyter.OutputUpdateDisplay
	case "clear":
		return jupyter.Output{Type: jupyter.OutputClear, Wait: e.Wait}, true
	case "error":
		o = jupyter.Output{Type: jupyter.OutputError, Err: &jupyter.KernelError{Name: e.Name, Value: e.Value}}
		if e.Traceback != "" {
			o.Err.Traceback = []string{e.Traceback}
		}
	case "omitted":
		return jupyter.Omission(e.Bytes), e.Bytes > 0
	default:
		return jupyter.Output{}, false
	}
	return o, true
}

// streamName is one of the two that there are.
func streamName(name string) string {
	if name == jupyter.Stderr {
		return jupyter.Stderr
	}
	return jupyter.Stdout
}

// forms are those of one value. What has more than a value can have is no value.
type forms MIMEBundle

const maxForms = 1000

func (f *forms) UnmarshalJSON(data []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	start, err := decoder.Token()
	if err != nil || start == nil {
		return err
	}
	if start != json.Delim('{') {
		return errors.New("forms are no object")
	}
	list := forms{}
	for decoder.More() {
		if len(list) == maxForms {
			return errors.New("too many forms")
		}
		mime, err := decoder.Token()
		if err != nil {
			return err
		}
		var form json.RawMessage
		if err := decoder.Decode(&form); err != nil {
			return err
		}
		list[fmt.Sprint(mime)] = form
	}
	*f = list
	return nil
}

// eventReader reads events, and passes over everything else that is written to
// the same descriptor.
type eventReader struct {
	lines *bufio.Reader
	limit int // bytes of a line; a longer one is passed over
	line  []byte
}

// eventRoom is what a line holds beside what code shows.
const eventRoom = 1 << 20

func newEventReader(r io.Reader, limit int64) *eventReader {
	return &eventReader{lines: bufio.NewReaderSize(r, 64<<10), limit: int(limit) + eventRoom}
}

// next returns the next event, or the error that ends the stream.
func (r *eventReader) next() (event, error) {
	for {
		line, passed, err := r.read()
		if err != nil {
			return event{}, err
		}
		if passed > 0 {
			return event{Event: "omitted", Bytes: passed}, nil
		}
		var e event
		if len(line) > 1 && json.Unmarshal(line, &e) == nil && e.Event != "" {
			return e, nil
		}
	}
}

// read returns a line, or how many bytes it had if those were too many.
func (r *eventReader) read() (line []byte, passed int64, err error) {
	const enough = 1 << 20 // to keep between two lines
	if cap(r.line) > enough {
		r.line = nil
	}
	r.line = r.line[:0]
	for {
		part, err := r.lines.ReadSlice('\n')
		switch {
		case passed > 0:
			passed += int64(len(part))
		case len(r.line)+len(part) > r.limit:
			passed = int64(len(r.line) + len(part))
			r.line = nil
		default:
			r.line = append(r.line, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return r.line, passed, err
		}
	}
}
