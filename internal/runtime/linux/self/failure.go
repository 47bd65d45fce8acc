//go:build linux

package self

import (
	"errors"
	"io/fs"
	"syscall"
)

// Answer is a frame that says whether the request went well.
type Answer interface{ Err() error }

// Result is embedded in an answer. The zero value is success.
type Result struct {
	Failure *Failure `json:",omitempty"`
}

// Fail is the result of a request that came to an error.
func Fail(err error) Result { return Result{Failure: newFailure(err)} }

// Err is the error that the other side had.
func (r *Result) Err() error {
	switch f := r.Failure; {
	case f == nil:
		return nil
	case f.Path != "" && f.Errno != 0:
		return &fs.PathError{Op: f.Op, Path: f.Path, Err: f.Errno}
	default:
		return f
	}
}

// Failure carries an error across, so that errors.Is works on the other side.
type Failure struct {
	Op, Path string `json:",omitempty"`
	Errno    syscall.Errno
	Text     string `json:",omitempty"` // when there is no Errno
}

func newFailure(err error) *Failure {
	f := &Failure{}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		f.Op, f.Path = pathError.Op, pathError.Path
	}
	if !errors.As(err, &f.Errno) || f.Path == "" {
		f.Text = err.Error()
	}
	return f
}

// Error is the text of the error on the other side.
func (f *Failure) Error() string {
	if f.Text != "" {
		return f.Text
	}
	return f.Errno.Error()
}

// Unwrap returns the system's error, if there was one.
func (f *Failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}
