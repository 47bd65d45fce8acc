package modalclient

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modal-labs/libmodal/modal-go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/shown"
)

// The kinds of errors that callers tell apart, with errors.Is.
var (
	ErrNotFound     = errors.New("not found")
	ErrExists       = errors.New("already exists")
	ErrUnauthorized = errors.New("not authorized")
	ErrInvalid      = errors.New("invalid")
	ErrState        = errors.New("not possible in this state")
	ErrNoGPU        = errors.New("no such GPU here")
	ErrTerminated   = errors.New("sandbox has ended")
	ErrSandboxLost  = errors.New("sandbox lost")
	ErrProcessDone  = errors.New("command takes no more input")
	ErrClosed       = errors.New("client is closed or sandbox detached")
)

const tokenAdvice = "set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, or run `modal token new`"

// Error is an answer of the server.
type Error struct {
	Op      string // "create sandbox"
	Kind    error  // one of the Err variables, or nil
	Message string // the server's own words
}

func (e *Error) Error() string { return shown.Text(e.Op + ": " + e.Message) }

// Unwrap returns the kind.
func (e *Error) Unwrap() error { return e.Kind }

// TimeoutError says that a command was ended for its ExecSpec.Timeout. It
// matches context.DeadlineExceeded.
type TimeoutError struct {
	After time.Duration
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("timed out after %s", e.After) }

// Timeout reports true, as net.Error has it.
func (e *TimeoutError) Timeout() bool { return true }

// Is makes the error match context.DeadlineExceeded.
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// TerminatedError says that the sandbox has ended, and why. It matches ErrTerminated.
type TerminatedError struct {
	SandboxID string
	Exit      Exit
}

func (e *TerminatedError) Error() string {
	return shown.Text(fmt.Sprintf("sandbox %s %s", e.SandboxID, e.Exit))
}

// Is makes the error match ErrTerminated.
func (e *TerminatedError) Is(target error) bool { return target == ErrTerminated }

// BuildError says that a layer of an image could not be built.
type BuildError struct {
	Layer int    // index into the layers given; 0 for the base alone
	Log   string // the end of the build's output
	Cause error
}

func (e *BuildError) Error() string {
	return shown.Text(fmt.Sprintf("build image: layer %d: %v", e.Layer+1, e.Cause))
}

// Unwrap returns the cause.
func (e *BuildError) Unwrap() error { return e.Cause }

// failure turns an error of modal-go or gRPC into one of this package. An end
// of ctx goes before whatever the call made of it.
func failure(ctx context.Context, op string, err error) error {
	if err == nil {
		return nil
	}
	var waited *waitedError
	if errors.As(err, &waited) {
		return fmt.Errorf("%s: %w", op, waited)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", op, context.Cause(ctx))
	}
	var lookup modal.NotFoundError
	var clash modal.AlreadyExistsError
	var wrong *wrongServerError
	switch {
	case errors.As(err, &wrong):
		return fmt.Errorf("%s: %w", op, wrong)
	case errors.As(err, &lookup):
		return &Error{Op: op, Kind: ErrNotFound, Message: lookup.Exception}
	case errors.As(err, &clash):
		return &Error{Op: op, Kind: ErrExists, Message: clash.Exception}
	}
	st := statusOf(err)
	if st == nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	message := plain(st.Message())
	if st.Code() == codes.Unauthenticated {
		message += " (" + tokenAdvice + ")"
	}
	return &Error{Op: op, Kind: kind(st), Message: message}
}

func kind(st *status.Status) error {
	switch st.Code() {
	case codes.NotFound:
		return ErrNotFound
	case codes.AlreadyExists:
		return ErrExists
	case codes.Unauthenticated, codes.PermissionDenied:
		return ErrUnauthorized
	case codes.InvalidArgument, codes.OutOfRange:
		return ErrInvalid
	case codes.FailedPrecondition:
		if strings.Contains(strings.ToLower(st.Message()), "no gpu") {
			return ErrNoGPU
		}
		return ErrState
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Unimplemented:
		return errors.ErrUnsupported
	}
	return nil
}

// plain strips what gRPC wraps around the words of a transport.
func plain(message string) string {
	if inner, found := strings.CutPrefix(message, `connection error: desc = "`); found {
		message = strings.TrimSuffix(inner, `"`)
	}
	for _, noise := range []string{"transport: ", "Error while dialing: "} {
		message = strings.TrimPrefix(message, noise)
	}
	return message
}

// statusOf finds the gRPC status inside an error; nil if it has none.
func statusOf(err error) *status.Status {
	var spent *spentError
	if errors.As(err, &spent) {
		return spent.status
	}
	var carrier interface{ GRPCStatus() *status.Status }
	if errors.As(err, &carrier) {
		return carrier.GRPCStatus()
	}
	return nil
}

// ownDoing reports whether the call failed on this side: a message too large, say.
func ownDoing(st *status.Status) bool { return strings.HasPrefix(st.Message(), "grpc: ") }

// silent reports whether a call got no answer in its time.
func silent(err error) bool {
	var quiet *silentError
	return errors.As(err, &quiet)
}

// transient reports whether the same call may well succeed in a moment.
func transient(err error) bool {
	st := statusOf(err)
	if st == nil || ownDoing(st) {
		return false
	}
	switch st.Code() {
	case codes.Unavailable, codes.Internal, codes.Unknown, codes.Canceled, codes.DeadlineExceeded, codes.Aborted:
		return true
	}
	return limited(err)
}
