package huggingface

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What a hub can answer instead of a model. An [Error] wraps one or two of
// them; match with errors.Is.
var (
	ErrNotFound         = errors.New("no such model on the hub")
	ErrGated            = errors.New("the model is gated and access was not granted")
	ErrNoToken          = errors.New("no HuggingFace token was given")
	ErrUnauthorized     = errors.New("the hub refused the HuggingFace token")
	ErrRevisionNotFound = errors.New("no such revision")
	ErrFileNotFound     = errors.New("no such file in the model")
	ErrRateLimited      = errors.New("the hub's rate limit is reached")
	ErrUnavailable      = errors.New("the hub is out of order")
	ErrOffline          = errors.New("the hub cannot be reached")
	ErrWrongBase        = errors.New("the adapter was made for another base model")
	ErrInvalidAnswer    = errors.New("the hub's answer makes no sense")

	ErrStalled    = errors.New("the hub stopped sending")
	ErrCorrupt    = errors.New("a file differs from what the hub announced")
	ErrDiskFull   = errors.New("no space left on the model's volume")
	ErrCannotHide = errors.New("the model's name cannot be taken out of its files")
	ErrStopped    = errors.New("the download was stopped")
)

// Error is what went wrong with one model. Its text never holds a token, and
// holds the model's name only through the exported fields, so that a caller
// who keeps the name secret can use [Error.Hide].
type Error struct {
	Op         string        // what was tried: "resolve model"
	Model      string        // as asked for
	Revision   string        // as asked for; "" when the revision played no part
	Page       string        // URL where a person can do something about it; may be ""
	RetryAfter time.Duration // set with ErrRateLimited when the hub said so
	Err        error
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", e.Op, e.Model)
	if e.Revision != "" {
		fmt.Fprintf(&b, " at revision %q", e.Revision)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, "; try again in %s", e.RetryAfter)
	}
	if e.Page != "" {
		fmt.Fprintf(&b, "; see %s", e.Page)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Hide returns the same error about label, with the page and the revision left
// out: they would give the name away.
func (e *Error) Hide(label string) *Error {
	return &Error{Op: e.Op, Model: label, RetryAfter: e.RetryAfter, Err: WithoutDetails(e.Err)}
}

// WithoutDetails returns err, or the bare error of this package in the place of
// one whose text may name models or files.
func WithoutDetails(err error) error {
	for _, bare := range []error{ErrWrongBase, ErrInvalidAnswer, ErrAmbiguous, ErrSetAside, ErrEmpty, ErrIncomplete} {
		if errors.Is(err, bare) {
			return bare
		}
	}
	return err
}
