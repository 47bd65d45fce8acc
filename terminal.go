package seer

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// PrintProgress writes the progress of Start for people, for [WithProgress]:
// a line a step with its time. On a terminal the steps under way are shown
// below, each with the last thing it said. Errors of w are ignored.
func PrintProgress(w io.Writer) func(Event) {
	p := &progressPrinter{w: w, width: 80}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		p.live = true
		if width, _, err := term.GetSize(int(file.Fd())); err == nil {
			p.width = width
		}
	}
	return p.report
}

type progressPrinter struct {
	w       io.Writer
	live    bool
	width   int
	running []*runningStep
	drawn   int // lines of the live part that are on the screen
}

type runningStep struct {
	name  string
	since time.Time
	last  string
}

func (p *progressPrinter) report(e Event) {
	var line string
	switch e.Kind {
	case EventStarted:
		p.running = append(p.running, &runningStep{name: e.Step, since: e.Time})
	case EventOutput:
		p.said(e.Step, e.Text)
	case EventProgress:
		p.said(e.Step, formatBytes(e))
	case EventDone:
		p.remove(e.Step)
		line = fmt.Sprintf("  %-20s %8s  %s", e.Step, formatElapsed(e.Elapsed), shown.Line(e.Text))
	case EventFailed:
		p.remove(e.Step)
		reason, _, _ := strings.Cut(e.Err.Error(), "\n")
		line = fmt.Sprintf("  %-20s %8s  failed: %s", e.Step, formatElapsed(e.Elapsed), shown.Line(reason))
	}
	var out strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\x1b[J", p.drawn)
	}
	if line != "" {
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	p.drawn = 0
	if p.live {
		for _, s := range p.running {
			text := fmt.Sprintf("  %-20s %8s  %s", s.name, formatElapsed(e.Time.Sub(s.since)), s.last)
			out.WriteString(clip(text, p.width-1) + "\n")
			p.drawn++
		}
	}
	_, _ = io.WriteString(p.w, out.String())
}

func (p *progressPrinter) said(step, text string) {
	for _, s := range p.running {
		if s.name == step {
			s.last = text
		}
	}
}

func (p *progressPrinter) remove(step string) {
	for i, s := range p.running {
		if s.name == step {
			p.running = append(p.running[:i], p.running[i+1:]...)
			return
		}
	}
}

func formatElapsed(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

func formatBytes(e Event) string {
	const mib, gib = 1 << 20, 1 << 30
	unit, name := float64(mib), "MiB"
	if max(e.Done, e.Total) >= gib {
		unit, name = gib, "GiB"
	}
	text := fmt.Sprintf("%.1f %s", float64(e.Done)/unit, name)
	if e.Total > 0 {
		text = fmt.Sprintf("%.1f of %.1f %s", float64(e.Done)/unit, float64(e.Total)/unit, name)
	}
	if e.Rate > 0 {
		text += fmt.Sprintf(", %.1f MiB/s", e.Rate/mib)
	}
	if e.ETA > 0 {
		text += ", " + e.ETA.Round(time.Second).String() + " left"
	}
	return text
}

// clip cuts a line to the terminal's width.
func clip(text string, width int) string {
	clean := []rune(shown.Line(text))
	if width > 0 && len(clean) > width {
		clean = clean[:width]
	}
	return string(clean)
}
