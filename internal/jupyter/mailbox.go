package jupyter

import (
	"errors"
	"sync"
)

const (
	// mailboxBytes is how much of what a kernel sends may always wait to be handled.
	mailboxBytes = 4 << 20
	// messageCost is what a message counts beside its content.
	messageCost = 512
)

var errTooMuch = errors.New("the kernel sends more than can be handled")

// mailbox passes messages from the connection's reader, which must not wait,
// to the goroutine of a cell. Of outputs that come faster than they are handled
// the oldest are dropped.
type mailbox struct {
	mu         sync.Mutex
	messages   []*message
	held       int   // bytes of the messages
	room       int   // for them
	omitted    int64 // bytes that were dropped since take
	err        error
	incomplete bool
	wake       chan struct{} // filled when there is something to take
}

func newMailbox() *mailbox { return &mailbox{room: mailboxBytes, wake: make(chan struct{}, 1)} }

func (b *mailbox) put(m *message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.err, errTooMuch) {
		return
	}
	b.messages = append(b.messages, m)
	b.held += m.size()
	if b.held > b.room {
		b.thin()
	}
	b.signal()
}

// allow lets so many bytes wait, as far as there are few.
func (b *mailbox) allow(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.room = max(mailboxBytes, int(bytes))
}

// thin drops the oldest outputs until half of the room is free, and never the
// latest, however large. What is no output cannot be missed: too much of it is
// an error.
func (b *mailbox) thin() {
	last := len(b.messages) - 1
	for last > 0 && !b.messages[last].isOutput() {
		last--
	}
	kept := b.messages[:0]
	for i, m := range b.messages {
		switch {
		case i == last || b.held <= b.room/2 || !m.isOutput() || m.header.Type == string(OutputError):
			kept = append(kept, m)
		default:
			b.held -= m.size()
			b.omitted += max(int64(len(m.content)), m.cut)
		}
	}
	clear(b.messages[len(kept):])
	b.messages = kept
	others := 0
	for i, m := range kept {
		if !m.isOutput() && i < len(kept)-1 {
			others += m.size()
		}
	}
	if others > mailboxBytes && b.err == nil {
		b.err, b.messages, b.held = errTooMuch, nil, 0
	}
}

// close makes err what take returns after the last message. The first error
// counts.
func (b *mailbox) close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	b.signal()
}

func (b *mailbox) markIncomplete() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.incomplete = true
}

func (b *mailbox) isIncomplete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.incomplete
}

// take returns all messages that have come, and how many bytes of outputs are
// missing before them; or the error if there are none and there will be none.
func (b *mailbox) take() (messages []*message, omitted int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages, omitted = b.messages, b.omitted
	b.messages, b.held, b.omitted = nil, 0, 0
	if len(messages) > 0 {
		return messages, omitted, nil
	}
	return nil, omitted, b.err
}

func (b *mailbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
