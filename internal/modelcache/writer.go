package modelcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
)

const (
	attempts    = 3                // downloads of our own that may end without a word
	stopTimeout = 15 * time.Second // for a download to end when nobody wants it any more
	maxLine     = 1 << 20          // bytes in a line of the downloader's output
)

// fill downloads a model, or waits while another program does, until the
// volume is complete.
func (c *Cache) fill(ctx context.Context, req Request, commit string, job Job) (*Cached, error) {
	for tries := 0; ; {
		run, phase, err := c.join(ctx, job)
		if err != nil {
			return nil, err
		}
		last, err := follow(ctx, run, phase, req)
		if err != nil {
			return nil, err
		}
		if phase == Downloading {
			tries++
		}
		switch {
		case last.Event == "done":
			cached, _, err := c.look(ctx, req.Model, commit)
			if err != nil {
				return nil, err
			}
			if cached != nil {
				cached.Downloaded = phase == Downloading && !last.Cached
				return cached, nil
			}
			err = errors.New("the download ended well, but its volume is incomplete")
			if tries == attempts {
				return nil, err
			}
		case last.Event == "error" && !anothersFault(phase, last):
			return nil, last.Err()
		case tries == attempts:
			return nil, fmt.Errorf("the download ended %d times without saying why", attempts)
		}
		c.log().InfoContext(ctx, "model's download ended early, another one starts", "volume", job.Volume, "code", last.Code)
	}
}

// anothersFault reports whether an error that ended a download says nothing
// about another one of our own: it was not this program that stopped it, or the
// program that did has another token.
func anothersFault(phase Phase, last huggingface.Report) bool {
	switch last.Code {
	case "stopped":
		return true // follow tells if it was this one
	case "gated", "not_found", "unauthorized":
		return phase != Downloading
	}
	return false
}

// join starts the download, or finds the one that runs.
func (c *Cache) join(ctx context.Context, job Job) (Run, Phase, error) {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		run, err := c.Writers.Start(ctx, job)
		if err == nil {
			return run, Downloading, nil
		}
		if !errors.Is(err, ErrNameTaken) {
			return nil, "", fmt.Errorf("start download: %w", err)
		}
		run, err = c.Writers.Attach(ctx, job.Name)
		if err == nil {
			return run, Waiting, nil
		}
		if !errors.Is(err, ErrNotRunning) {
			return nil, "", fmt.Errorf("find running download: %w", err)
		}
		// It ended in between, or its name is not free yet.
		select {
		case <-ctx.Done():
			return nil, "", ctx.Err()
		case <-time.After(pause):
		}
	}
}

// follow reports a download's progress until it ends, and returns the last
// thing it said: "done", "error", or something else if it was killed. A
// download of our own is stopped when ctx ends; another's runs on.
func follow(ctx context.Context, run Run, phase Phase, req Request) (last huggingface.Report, err error) {
	over := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		defer close(over)
		if phase == Downloading {
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
			defer cancel()
			_ = run.Stop(stopping) // if that is not heard, its lease ends it
		}
		_ = run.Close() // which ends its output
	})
	defer func() {
		if !unwatch() {
			<-over
			return
		}
		_ = run.Close()
	}()
	var rate meter
	lines := bufio.NewScanner(run.Output())
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		report, ok := huggingface.ParseReport(lines.Bytes())
		if !ok {
			continue
		}
		if last = report; report.Event != "error" {
			req.notify(rate.measure(Event{Phase: phase}, report, time.Now()))
		}
	}
	if ctx.Err() != nil {
		return last, ctx.Err()
	}
	if err := lines.Err(); err != nil {
		return last, fmt.Errorf("read progress of download: %w", err)
	}
	return last, nil
}
