package jupyter

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/shown"
)

var (
	// ErrUnauthorized means that the server refuses the token.
	ErrUnauthorized = errors.New("jupyter: token refused")
	// ErrUnprotected means that the server also answers without the token, so
	// it is either somebody else's or open to everybody.
	ErrUnprotected = errors.New("jupyter: server does not ask for a token")
	// ErrNotJupyter means that something else answers at the address.
	ErrNotJupyter = errors.New("jupyter: not a jupyter server")
	// ErrNotFound means that the kernel or Jupyter session does not exist.
	ErrNotFound = errors.New("jupyter: not found")
	// ErrKernelDied means that the kernel's process ended by itself or by a
	// signal, and its variables with it. [Kernel.Restart] gives a new one.
	ErrKernelDied = errors.New("jupyter: kernel died")
	// ErrKernelRestarted means that a restart was asked for, by this program
	// or another client, while the cell ran or waited.
	ErrKernelRestarted = errors.New("jupyter: kernel restarted")
	// ErrOutputLost means that the connection was cut and the end of the cell
	// was not among what the server had kept: whether it succeeded is unknown.
	ErrOutputLost = errors.New("jupyter: output lost with the connection")
	// ErrConnectionLost means that the server could not be reached again.
	ErrConnectionLost = errors.New("jupyter: connection lost")
	// ErrStillRunning means that an interrupted cell did not stop. It runs on,
	// and later cells wait for it; [Kernel.Restart] ends it.
	ErrStillRunning = errors.New("jupyter: cell still runs after interrupt")
	// ErrClosed means that the Kernel or Saver was closed.
	ErrClosed = errors.New("jupyter: closed")
)

// KernelError is the exception that ended a cell.
type KernelError struct {
	Name  string // class of the exception, such as "ValueError"
	Value string
	// Traceback is what the kernel shows for it, colours included; see
	// [KernelError.Text] for the plain form.
	Traceback []string
}

// Error returns the last line of the traceback, as Python prints it.
func (e *KernelError) Error() string {
	if e.Value == "" {
		return shown.Text(e.Name)
	}
	return shown.Text(e.Name + ": " + e.Value)
}

// Text returns the traceback without colours.
func (e *KernelError) Text() string {
	if len(e.Traceback) == 0 {
		return e.Error()
	}
	return renderTerminal(strings.Join(e.Traceback, "\n"))
}

// APIError is a refusal of the server's REST interface. It matches
// [ErrUnauthorized] and [ErrNotFound] by its status.
type APIError struct {
	Method, Path string
	Status       int
	Message      string // from the server; may be empty
}

func (e *APIError) Error() string {
	text := fmt.Sprintf("%s %s: %d %s", e.Method, e.Path, e.Status, http.StatusText(e.Status))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return shown.Text(text)
}

// Is reports whether target is the sentinel of this status.
func (e *APIError) Is(target error) bool {
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == ErrUnauthorized
	case http.StatusNotFound:
		return target == ErrNotFound
	}
	return false
}
