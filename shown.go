package seer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

// shownOutcome runs a command as an agent sees it: both streams as one, while
// it runs and bounded in the end. A command that fails is an outcome; an error
// is one of ours.
func shownOutcome(ctx context.Context, cmd *Cmd, output func(string)) (mcpserver.Outcome, error) {
	shown := &shownText{emit: output}
	cmd.Stdout, cmd.Stderr = shown, shown
	err := cmd.Run(ctx)
	o := mcpserver.Outcome{Text: shown.text()}
	var exit *ExitError
	if errors.As(err, &exit) {
		status := ExitError{Code: exit.Code, Signal: exit.Signal}
		o.Failed, err = true, nil
		if o.Text != "" && !strings.HasSuffix(o.Text, "\n") {
			o.Text += "\n"
		}
		o.Text += "[" + status.Error() + "]"
	}
	return o, err
}

// shownText hands on what is written and keeps the first and the last
// tailSize bytes, however much it is.
type shownText struct {
	emit    func(string)
	head    []byte
	rest    tail
	written int
}

func (s *shownText) Write(p []byte) (int, error) {
	s.emit(string(p))
	s.written += len(p)
	n := min(len(p), tailSize-len(s.head))
	s.head = append(s.head, p[:n]...)
	_, _ = s.rest.Write(p[n:]) // never fails
	return len(p), nil
}

func (s *shownText) text() string {
	rest := s.rest.text()
	if left := s.written - len(s.head) - len(rest); left > 0 {
		return fmt.Sprintf("%s\n[... %d bytes left out ...]\n%s", s.head, left, rest)
	}
	return string(s.head) + rest
}
