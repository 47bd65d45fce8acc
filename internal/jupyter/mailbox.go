package jupyter

import "sync"

// mailbox passes messages from the connection's reader, which must not wait,
// to the goroutine of a cell.
type mailbox struct {
	mu         sync.Mutex
	messages   []*message
	err        error
	incomplete bool
	wake       chan struct{} // filled when there is something to take
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

func (b *mailbox) put(m *message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, m)
	b.signal()
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

// take returns all messages that have come, or the error if there are none and
// there will be none.
func (b *mailbox) take() ([]*message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	messages := b.messages
	b.messages = nil
	if len(messages) > 0 {
		return messages, nil
	}
	return nil, b.err
}

func (b *mailbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
