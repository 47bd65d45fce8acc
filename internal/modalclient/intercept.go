package modalclient

import (
	"cmp"
	"context"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

const (
	firstBackOff = 200 * time.Millisecond
	maxBackOff   = 10 * time.Second
	// A limit that holds this long is no burst: the caller should hear of it.
	backOffFor = 2 * time.Minute
)

// backOff repeats calls that the server turns down for its rate limits.
func backOff(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	giveUp := time.Now().Add(backOffFor)
	words := "" // the server's, so far
	for delay := firstBackOff; ; delay = min(2*delay, maxBackOff) {
		err := invoke(ctx, method, request, reply, conn, opts...)
		if err != nil && ctx.Err() != nil && words != "" {
			return &limitError{cause: context.Cause(ctx), words: words}
		}
		if !limited(err) || time.Now().After(giveUp) || hopeless.MatchString(err.Error()) {
			return err
		}
		words = plain(statusOf(err).Message())
		if cause := sleep(ctx, jitter(delay)); cause != nil {
			return &limitError{cause: cause, words: words}
		}
	}
}

// hopeless finds limits that no waiting lifts.
var hopeless = regexp.MustCompile(`(?i)\b(billing|payment|spend(ing)? limit)\b`)

// limitError is the end of the caller's patience with a limit of the server.
type limitError struct {
	cause error
	words string // the server's
}

func (e *limitError) Error() string { return e.cause.Error() + "; the server said: " + e.words }
func (e *limitError) Unwrap() error { return e.cause }

// limited tells the server's limits from this client's own on the size of messages.
func limited(err error) bool {
	st := statusOf(err)
	return st != nil && st.Code() == codes.ResourceExhausted && !ownDoing(st)
}

// allowNothing marks the create of a sandbox whose allowlist is empty, which
// modal-go takes for none.
type allowNothing struct{}

// rewrite sets what modal-go's parameters cannot say.
func rewrite(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	switch r := request.(type) {
	case *pb.VolumeGetOrCreateRequest:
		// sync(1) commits version 2 only.
		if r.GetObjectCreationType() == pb.ObjectCreationType_OBJECT_CREATION_TYPE_CREATE_IF_MISSING {
			r.SetVersion(pb.VolumeFsVersion_VOLUME_FS_VERSION_V2)
		}
	case *pb.SandboxCreateRequest:
		// modal-go takes them from a map: the same spec should make the same request.
		slices.SortFunc(r.GetDefinition().GetVolumeMounts(), func(a, b *pb.VolumeMount) int {
			return cmp.Compare(a.GetMountPath(), b.GetMountPath())
		})
		if ctx.Value(allowNothing{}) != nil {
			r.GetDefinition().SetNetworkAccess(pb.NetworkAccess_builder{NetworkAccessType: pb.NetworkAccess_ALLOWLIST}.Build())
		}
	}
	return invoke(ctx, method, request, reply, conn, opts...)
}

// jitter spreads a delay over half to all of it.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1)
}

// sleep waits for d, or returns the cause of ctx's end.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
