package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// ErrUnauthorized matches an answer to a call or request without the right
// token. Whatever was asked, such an answer says nothing else.
var ErrUnauthorized = errors.New("unauthorized")

// ErrNotServed matches a request about a service that the server does not have.
var ErrNotServed = errors.New("service is not served")

// CallError is a call that reached the service and failed there.
type CallError struct {
	Function string
	// Type is the name of the Python exception ("ValueError"), or one of the
	// server's own: UnknownFunction, BadRequest, RequestTooLarge,
	// ServiceCrashed, ServiceReplaced, ServiceRemoved, Unauthorized.
	Type    string
	Message string
	// Bases are the builtin exceptions that the exception is, nearest first.
	Bases []string
	// Notes are what add_note added to the exception.
	Notes []string
	// Exceptions are the members of an exception group.
	Exceptions []*CallError
	// Traceback is empty unless the service was loaded with Spec.Tracebacks.
	Traceback string
	// Status is the HTTP status of the answer.
	Status int
}

// Error names the function, the exception's type and its message.
func (e *CallError) Error() string {
	return shown.Text(fmt.Sprintf("call %s: %s: %s", e.Function, e.Type, e.Message))
}

// Is matches ErrUnauthorized, and context.DeadlineExceeded for a call that
// ran into the timeout of its service.
func (e *CallError) Is(target error) bool {
	switch target {
	case ErrUnauthorized:
		return e.Status == http.StatusUnauthorized
	case context.DeadlineExceeded:
		return e.Status == http.StatusGatewayTimeout
	}
	return false
}

// LoadError is an interface file that cannot be served.
type LoadError struct {
	// File is the name under which the interface file was loaded.
	File string
	// Type is the name of the Python exception, or one of the server's own:
	// NothingExposed, Unservable, ServiceCrashed, ServiceReplaced.
	Type    string
	Message string
	// Traceback is Python's, with the file's own name and line numbers.
	Traceback string
}

// Error ends in the traceback, if there is one.
func (e *LoadError) Error() string {
	if e.Traceback == "" {
		return shown.Text(fmt.Sprintf("load %s: %s: %s", e.File, e.Type, e.Message))
	}
	return shown.Text(fmt.Sprintf("load %s: %s", e.File, e.Traceback))
}
