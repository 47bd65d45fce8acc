package modalclient

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// machineWait is a sandbox's time in the queue for a machine.
type machineWait struct {
	sandbox *Sandbox
	what    string
	limit   time.Duration // negative = none
	every   time.Duration // between two pieces of news

	began, told time.Time
}

func (s *Sandbox) newWait(queue Queue) *machineWait {
	now := time.Now()
	w := &machineWait{
		sandbox: s, began: now, told: now, every: newsEvery,
		what: cmp.Or(queue.For, "machine"), limit: cmp.Or(queue.Limit, s.client.patience.Queue),
	}
	if w.limit > 0 {
		w.every = min(newsEvery, w.limit/4)
	}
	return w
}

// pause waits for the next question, or returns why there should be none.
func (w *machineWait) pause(ctx context.Context, d time.Duration) error {
	op := "start sandbox " + w.sandbox.id
	waited := time.Since(w.began)
	if w.limit > 0 && waited >= w.limit {
		return &Error{Op: op, Kind: context.DeadlineExceeded, Message: w.text(w.limit)}
	}
	if time.Since(w.told) >= w.every {
		w.told = time.Now()
		if report, _ := ctx.Value(newsKey{}).(func(string)); report != nil {
			report(w.text(waited))
		}
	}
	if w.limit > 0 {
		d = min(d, w.limit-waited)
	}
	if err := sleep(ctx, d); err != nil {
		return fmt.Errorf("%s: %s: %w", op, w.text(time.Since(w.began)), err)
	}
	return nil
}

func (w *machineWait) text(waited time.Duration) string {
	precision := time.Millisecond
	if waited > time.Second {
		precision = time.Second
	}
	text := waited.Round(precision).String()
	if minutes := waited.Round(time.Second); minutes >= time.Minute && minutes%time.Minute == 0 {
		text = fmt.Sprintf("%d min", minutes/time.Minute)
	}
	return fmt.Sprintf("queued for %s, no %s yet", text, w.what)
}
