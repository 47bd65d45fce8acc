//go:build linux

package escape_test

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
)

// attempt is one way out that an agent tries. Exactly one of python, owner and
// program is set.
type attempt struct {
	name string
	// python runs inside, after agent.py. It gets out by calling out(), or by
	// printing a marker; an OSError holds it.
	python string
	// owner is played with the owner's API. What it returns got out; "" is
	// what must be.
	owner func(t *testing.T, w *world) string
	// program is played by a program that owns sandboxes, and must survive it.
	program func(ctx context.Context, p *program) string
	// needs says what the machine must have for the attempt to mean anything;
	// nil = nothing.
	needs func(kernel) bool
}

// family is a group of attempts of one kind.
type family struct {
	name     string
	attempts []attempt
	alone    bool // they would disturb others at the same time
}

//go:embed agent.py
var agentPy string

// attemptLimit bounds one attempt: what takes longer blocks its owner.
const attemptLimit = 60 * time.Second

// run makes an attempt and returns what got out.
func (a attempt) run(t *testing.T, w *world) string {
	t.Helper()
	var got string
	switch {
	case a.python != "":
		got = w.runPython(t, w.agent, a.python)
	case a.program != nil:
		got = w.programs.run(a.name)
	default:
		got = a.owner(t, w)
	}
	if a.program == nil {
		w.renew(t)
	}
	if got == "" {
		got = w.changed()
	}
	return got
}

// runPython runs an attempt's code in a sandbox and returns what got out.
func (w *world) runPython(t *testing.T, sandbox *seer.Sandbox, code string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), attemptLimit)
	defer cancel()
	output, err := sandbox.Command("python", "-c", agentPy, w.facts, code).CombinedOutput(ctx)
	return w.verdict(t, string(output), err)
}

// verdict says what got out with an output, which must be that of an attempt
// that was made.
func (w *world) verdict(t *testing.T, output string, err error) string {
	t.Helper()
	if marker := w.leaked(output); marker != "" {
		return marker + " was printed"
	}
	_, what, found := strings.Cut(output, "OUT: ")
	if found {
		what, _, _ = strings.Cut(what, "\n")
		return what
	}
	var exit *seer.ExitError
	switch {
	case errors.As(err, &exit) && exit.Signal == 31: // SIGSYS: the kernel was not even asked
	case errors.Is(err, seer.ErrTerminated): // which an agent may
	case err != nil:
		t.Errorf("the attempt broke: %v\n%s", err, output)
	case !strings.Contains(output, "held"):
		t.Errorf("the attempt did not end:\n%s", output)
	default:
		t.Log(strings.TrimSpace(output[max(0, len(output)-300):]))
	}
	return ""
}

// outf is what got out, as a sentence.
func outf(format string, args ...any) string { return fmt.Sprintf(format, args...) }
