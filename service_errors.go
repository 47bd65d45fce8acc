package seer

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// ServeError means that an interface file could not be served.
type ServeError struct {
	File string // as it was given to Serve
	// Type is the name of the Python exception, or NothingExposed, Unservable
	// (a function that cannot be called from outside), ServiceCrashed (the
	// process died) or ServiceReplaced (the name was served again meanwhile).
	Type      string
	Message   string
	Traceback string // Python's, with the line numbers of the file
}

// Error shows the traceback, and for a module that is missing where it would
// come from.
func (e *ServeError) Error() string {
	text := e.Traceback
	if text == "" {
		text = e.Type + ": " + e.Message
	}
	if e.Type == "ModuleNotFoundError" {
		text += "\n(packages of the sandbox are listed in PythonPackages, modules of your own in ServeOptions.Workspace)"
	}
	return shown.Text("serve " + e.File + ": " + text)
}

// CallError means that a function was called and did not return.
type CallError struct {
	Function string
	// Type is the name of the Python exception, such as "ValueError", or
	// UnknownFunction, BadRequest, RequestTooLarge, ServiceCrashed,
	// ServiceReplaced, ServiceRemoved or Unauthorized.
	Type    string
	Message string
	Bases   []string // the built-in exceptions that the exception is, nearest first
	Notes   []string // what add_note added to the exception
	// Exceptions are the members of an exception group.
	Exceptions []*CallError
	Traceback  string // "" unless the service was served with Tracebacks
}

// Error names the function, the exception and what it says, with its notes and
// the members of a group, a line each.
func (e *CallError) Error() string {
	return shown.Text("call " + e.Function + ": " + e.words(""))
}

func (e *CallError) words(indent string) string {
	text := e.Type + ": " + e.Message
	for _, note := range e.Notes {
		text += "\n" + indent + note
	}
	for _, member := range e.Exceptions {
		text += "\n" + indent + "- " + member.words(indent+"  ")
	}
	return text
}

func newCallError(failed *rpc.CallError) *CallError {
	made := &CallError{
		Function: failed.Function, Type: failed.Type, Message: failed.Message, Bases: failed.Bases,
		Notes: failed.Notes, Traceback: failed.Traceback,
	}
	for _, member := range failed.Exceptions {
		made.Exceptions = append(made.Exceptions, newCallError(member))
	}
	return made
}

// callError translates what a call returned.
func (v *Service) callError(function string, err error) error {
	if failed := (*rpc.CallError)(nil); errors.As(err, &failed) {
		if failed.Status == http.StatusGatewayTimeout {
			return &TimeoutError{Op: "call " + function, After: v.timeout}
		}
		return newCallError(failed)
	}
	return v.sandbox.serviceError("call "+function, err)
}

// serviceError translates what a request to the server of functions returned.
func (s *ScopedSandbox) serviceError(doing string, err error) error {
	if err == nil {
		return nil
	}
	var load *rpc.LoadError
	switch {
	case errors.As(err, &load):
		return &ServeError{File: load.File, Type: load.Type, Message: load.Message, Traceback: load.Traceback}
	case errors.Is(err, rpc.ErrNotServed):
		return fmt.Errorf("%s: no service has this name: %w", doing, ErrNotFound)
	case errors.Is(err, context.DeadlineExceeded):
		return &TimeoutError{Op: doing, Err: err}
	}
	if _, ended := s.running(); ended != nil {
		return fmt.Errorf("%s: %w", doing, ended)
	}
	return err
}
