package seer

import (
	"sync"
	"time"
)

// EventKind tells what an [Event] reports.
type EventKind string

// The kinds of events.
const (
	EventStarted  EventKind = "started"  // a step begins
	EventOutput   EventKind = "output"   // a line that the step printed, in Text
	EventProgress EventKind = "progress" // Done of Total bytes
	EventDone     EventKind = "done"     // the step ended well, after Elapsed
	EventFailed   EventKind = "failed"   // the step ended with Err
)

// Event is one piece of news from a running [Sandbox.Start], or from the
// snapshot before a sandbox's end, whose step is [StepFinalSnapshot]. Secrets and the
// names of hidden models never appear in it.
type Event struct {
	Kind    EventKind
	Time    time.Time
	Step    string        // "image", "sandbox", "repo org/name", …
	Text    string        // EventOutput: one line, without its newline. EventDone: a remark such as "cached", or ""
	Done    int64         // EventProgress: bytes so far
	Total   int64         // EventProgress: bytes in all; 0 when unknown
	Rate    float64       // EventProgress: bytes per second of late; 0 when unknown
	ETA     time.Duration // EventProgress: time that the rest takes at that rate; 0 when unknown
	Elapsed time.Duration // EventDone, EventFailed: since the step began
	Err     error         // EventFailed
}

// StepFinalSnapshot is the step in which SnapshotBeforeEnd is carried out. The
// text of its EventDone is the ID of the image.
const StepFinalSnapshot = "snapshot before the end"

// reporter delivers events one at a time. A nil function discards them.
type reporter struct {
	mu sync.Mutex
	fn func(Event)
}

func (r *reporter) report(e Event) {
	if r.fn == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fn(e)
}

func (r *reporter) output(step, line string) {
	r.report(Event{Kind: EventOutput, Step: step, Text: line})
}
