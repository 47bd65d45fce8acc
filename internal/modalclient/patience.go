package modalclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"
)

// Patience is how long a client waits for a server that does not do its part.
// A field that is 0 has the default.
type Patience struct {
	Answer   time.Duration // for the answer to one try of most calls; 10 s
	Image    time.Duration // of ImageGetOrCreate and TaskMountDirectory; 1 min
	Snapshot time.Duration // of a snapshot, which is tried twice; 30 min
	Poll     time.Duration // what one question that waits for an event takes; 55 s
	Outage   time.Duration // for a server that says Unavailable, from the first time on; 30 s
	Queue    time.Duration // for a machine, when a sandbox has been created; 20 min
}

func (p Patience) withDefaults() Patience {
	return Patience{
		Answer:   cmp.Or(p.Answer, 10*time.Second),
		Image:    cmp.Or(p.Image, time.Minute),
		Snapshot: cmp.Or(p.Snapshot, 30*time.Minute),
		Poll:     cmp.Or(p.Poll, 55*time.Second),
		Outage:   cmp.Or(p.Outage, 30*time.Second),
		Queue:    cmp.Or(p.Queue, 20*time.Minute),
	}
}

const (
	silentTries = 3 // of a call in a row that get no answer
	// A server on this machine that does not even listen has no network to blame.
	outageLocal = 2 * time.Second
)

// try is how long one try of a call may take, and how many there are at most
// that get no answer. All may be repeated: they carry the same idempotency key,
// or change nothing when they come twice.
func (p Patience) try(method string, request any) (time.Duration, int) {
	switch path.Base(method) {
	case "SandboxCreate":
		return 2 * p.Answer, silentTries
	case "ImageGetOrCreate", "TaskMountDirectory":
		return p.Image, silentTries
	case "SandboxSnapshotFs", "TaskSnapshotDirectory":
		return p.Snapshot + p.Answer, 2
	case "SandboxTerminate": // its callers have little time left
		return p.Answer / 2, silentTries
	case "SandboxWait":
		r, _ := request.(*pb.SandboxWaitRequest)
		return seconds(r.GetTimeout()) + p.Answer, silentTries
	case "SandboxGetTunnels":
		r, _ := request.(*pb.SandboxGetTunnelsRequest)
		return seconds(r.GetTimeout()) + p.Answer, silentTries
	case "ImageJoinStreaming", "SandboxGetLogs":
		return p.Poll + p.Answer, silentTries
	}
	return p.Answer, silentTries
}

func seconds(s float32) time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// within gives one try of a call its time; over is whether that has run out.
func within(ctx context.Context, patience time.Duration, method string, call func(context.Context) error) error {
	tryCtx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := call(tryCtx)
	var waited *waitedError
	if err != nil && tryCtx.Err() != nil && ctx.Err() == nil && !errors.As(err, &waited) {
		return noAnswer(method, patience)
	}
	return err
}

// noAnswer is what a call comes to that got no answer in its time.
func noAnswer(method string, patience time.Duration) error {
	return &silentError{text: fmt.Sprintf("no answer to %s within %s", path.Base(method), patience)}
}

type silentError struct{ text string }

func (e *silentError) Error() string              { return e.text }
func (e *silentError) GRPCStatus() *status.Status { return status.New(codes.DeadlineExceeded, e.text) }

// tolerance is how long failures of a connection in a row are put up with.
func (p Patience) tolerance(conn *grpc.ClientConn) time.Duration {
	if isLoopback(conn.Target()) && conn.GetState() != connectivity.Ready {
		return min(outageLocal, p.Outage)
	}
	return p.Outage
}

// spentError is a failure that has been put up with for as long as it should.
// It shows its status to this package alone: modal-go would begin anew.
type spentError struct{ status *status.Status }

func (e *spentError) Error() string { return plain(e.status.Message()) }

// waitedError is the end of the caller's patience with a server that said
// something meanwhile.
type waitedError struct {
	cause   error
	words   string // the server's
	refused bool   // every try was turned down, so that nothing has come of them
}

func (e *waitedError) saying() string { return "the server said: " + e.words }
func (e *waitedError) Error() string  { return e.cause.Error() + "; " + e.saying() }
func (e *waitedError) Unwrap() error  { return e.cause }

// Said is what there is to say of a failed call besides that its time was over:
// what the server kept saying, or which call got no answer. "" = nothing.
func Said(err error) string {
	var waited *waitedError
	var answer *Error
	switch {
	case errors.As(err, &waited):
		return waited.saying()
	case errors.As(err, &answer) && answer.Kind == context.DeadlineExceeded: //nolint:errorlint // a kind is one of a few values
		return answer.Message
	}
	return ""
}

// withWords adds to an error what the server said according to another one.
func withWords(err, from error) error {
	var waited, known *waitedError
	if errors.As(from, &waited) && !errors.As(err, &known) {
		return &waitedError{cause: err, words: waited.words}
	}
	return err
}

type newsKey struct{}

// WithNews has report told, at times, what calls with the context wait for.
// It is called from whichever goroutine makes the call. nil = nothing is told.
func WithNews(ctx context.Context, report func(text string)) context.Context {
	return context.WithValue(ctx, newsKey{}, report)
}

// tell says what a call has waited for since some time: to who asked for news,
// or else to the log, without the server's words, which may quote a request.
func tell(ctx context.Context, logger *slog.Logger, since time.Time, what, words string) {
	waited := time.Since(since).Round(time.Second)
	report, asked := ctx.Value(newsKey{}).(func(string))
	switch {
	case report != nil:
		report(fmt.Sprintf("%s: waiting for %s; the server says: %s", what, waited, strings.TrimSpace(words)))
	case !asked:
		logger.WarnContext(ctx, "waiting for the server", "call", what, "for", waited)
	}
}

type callerKey struct{}

// withCaller makes a context that outlives its caller's for the sake of calls
// under way; none begins when the caller's has ended.
func withCaller(ctx, caller context.Context) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// callerOf returns the context that says whether another try is wanted.
func callerOf(ctx context.Context) context.Context {
	if caller, ok := ctx.Value(callerKey{}).(context.Context); ok {
		return caller
	}
	return ctx
}

// newsAfter is how long somebody waits before being told, and between two times.
const (
	newsAfter = time.Second
	newsEvery = time.Minute
)

// outage is a row of failures of one call.
type outage struct {
	patience Patience
	method   string
	conn     *grpc.ClientConn
	log      *slog.Logger

	began  time.Time // the first failure
	told   time.Time
	silent int
	words  string // the server's, of the last one
	made   bool   // something may have come of one of them
	delay  time.Duration
}

// over forgets the row.
func (o *outage) over() {
	*o = outage{patience: o.patience, method: o.method, conn: o.conn, log: o.log}
}

// failed waits until the call should be tried again, or returns what it has
// come to. A limit is waited for as long as the caller does.
func (o *outage) failed(ctx context.Context, err error) error {
	caller := callerOf(ctx)
	if caller.Err() != nil || ctx.Err() != nil {
		return o.given(cmp.Or(context.Cause(caller), context.Cause(ctx)), err)
	}
	if o.began.IsZero() {
		o.began, o.delay = time.Now(), firstBackOff
	}
	slowest, tries := maxRetry, 0
	switch quiet := silent(err); {
	case quiet:
		_, tries = o.patience.try(o.method, nil)
		if o.silent++; o.silent >= tries {
			return &spentError{statusOf(err)}
		}
	case limited(err):
		if hopeless.MatchString(err.Error()) {
			return err
		}
		slowest = maxBackOff
	case time.Since(o.began) > o.patience.tolerance(o.conn):
		return &spentError{statusOf(err)}
	}
	o.made = o.made || !limited(err)
	if code := statusOf(err).Code(); silent(err) || code != codes.DeadlineExceeded && code != codes.Canceled { // else it is only late
		o.words = plain(statusOf(err).Message())
	}
	o.tell(ctx)
	pause := jitter(o.delay)
	o.delay = min(2*o.delay, slowest)
	if cause := sleep(caller, pause); cause != nil {
		return o.given(cause, nil)
	}
	return nil
}

// given is the error for a caller who has given up.
func (o *outage) given(cause, err error) error {
	if o.words == "" {
		return cmp.Or(err, cause)
	}
	return &waitedError{cause: cause, words: o.words, refused: !o.made && err == nil}
}

func (o *outage) tell(ctx context.Context) {
	if time.Since(o.began) >= newsAfter && time.Since(o.told) >= newsEvery {
		o.told = time.Now()
		tell(ctx, o.log, o.began, path.Base(o.method), o.words)
	}
}

// passing reports whether a failure is one that this package sits out.
// modal-go repeats some others a few times.
func passing(err error) bool {
	st := statusOf(err)
	return silent(err) || limited(err) || st != nil && st.Code() == codes.Unavailable
}

// outage begins a row of failures of a stream of the control plane.
func (c *Client) outage(method string) *outage {
	return &outage{patience: c.patience, method: method, conn: c.conn, log: c.log}
}
