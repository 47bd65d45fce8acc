package modalserver

import (
	"bytes"
	"context"
	"strings"
	"sync"
)

const (
	keptLogLines = 10_000   // of a build
	tailLines    = 40       // of a log that an error repeats
	maxLogLine   = 16 << 10 // bytes; longer lines are cut in pieces
)

// buildLog is the output of a build, by lines. Only so many of them are kept.
type buildLog struct {
	mu      sync.Mutex
	lines   []string
	dropped int64 // lines before the first one kept
	partial []byte
	ended   bool
	changed chan struct{}
}

func newBuildLog() *buildLog { return &buildLog{changed: make(chan struct{})} }

// Write adds output. It never fails.
func (l *buildLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial = append(l.partial, p...)
	for {
		end := bytes.IndexByte(l.partial, '\n') + 1
		if end == 0 && len(l.partial) >= maxLogLine {
			end = wholeRunes(l.partial[:maxLogLine])
		}
		if end == 0 {
			break
		}
		l.addLocked(l.partial[:end])
		l.partial = l.partial[end:]
	}
	return len(p), nil
}

func (l *buildLog) addLocked(line []byte) {
	l.lines = append(l.lines, strings.ToValidUTF8(string(line), "\uFFFD"))
	if len(l.lines) > keptLogLines {
		l.lines = l.lines[1:]
		l.dropped++
	}
	l.notifyLocked()
}

func (l *buildLog) notifyLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// end says that there is no more.
func (l *buildLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.partial) > 0 {
		l.addLocked(l.partial)
		l.partial = nil
	}
	l.ended = true
	l.notifyLocked()
}

// read returns the lines from the given one on and the number of the line after
// them. It waits for at least one, the end of the log or that of ctx.
func (l *buildLog) read(ctx context.Context, from int64) (lines []string, next int64, more bool) {
	for {
		l.mu.Lock()
		start := min(max(from-l.dropped, 0), int64(len(l.lines)))
		lines = append([]string(nil), l.lines[start:]...)
		next, more = l.dropped+int64(len(l.lines)), !l.ended
		changed := l.changed
		l.mu.Unlock()
		if len(lines) > 0 || !more {
			return lines, next, more
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, from, true
		}
	}
}

// tail returns the last lines.
func (l *buildLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines[max(0, len(l.lines)-tailLines):]
	return strings.ToValidUTF8(strings.Join(lines, "")+string(l.partial), "\uFFFD")
}
