package modalclient

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"slices"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
)

const (
	firstBackOff = 200 * time.Millisecond
	maxBackOff   = 10 * time.Second
)

// steady carries calls through what passes: a server that does not answer, is
// away for a moment, or limits its callers.
type steady struct {
	patience Patience
	log      *slog.Logger
}

func (s *steady) unary(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	row := &outage{patience: s.patience, method: method, conn: conn, log: s.log}
	for {
		if conn.GetState() == connectivity.TransientFailure {
			conn.ResetConnectBackoff() // somebody wants to know now whether the server is back
		}
		patience, _ := s.patience.try(method, request)
		err := within(ctx, patience, method, func(ctx context.Context) error {
			return invoke(ctx, method, request, reply, conn, opts...)
		})
		if err == nil || !passing(err) && ctx.Err() == nil {
			return err
		}
		if err := row.failed(ctx, err); err != nil {
			return err
		}
	}
}

// stream bounds how long a stream may be silent. Whoever reads it opens another.
func (s *steady) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := open(ctx, desc, conn, method, opts...)
	if err != nil {
		cancel()
		return nil, err
	}
	patience, _ := s.patience.try(method, nil)
	return &steadyStream{ClientStream: stream, method: method, patience: patience, cancel: cancel}, nil
}

type steadyStream struct {
	grpc.ClientStream
	method   string
	patience time.Duration // for each message
	cancel   context.CancelFunc
}

func (s *steadyStream) RecvMsg(m any) error {
	timer := time.AfterFunc(s.patience, s.cancel)
	err := s.ClientStream.RecvMsg(m)
	late := !timer.Stop()
	if err != nil {
		s.cancel()
	}
	if err != nil && late && !errors.Is(err, io.EOF) {
		return noAnswer(s.method, s.patience)
	}
	return err
}

// hopeless finds limits that no waiting lifts.
var hopeless = regexp.MustCompile(`(?i)\b(billing|payment|spend(ing)? limit)\b`)

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
