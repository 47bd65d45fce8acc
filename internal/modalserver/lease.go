package modalserver

import (
	"context"
	"math"
	"strconv"
	"sync"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// leaseHeader comes with the creation of a sandbox that outlives its command
// and ends with its lease, which this server keeps, out of the sandbox's reach.
// Its value is in seconds; "none" = no lease. Modal's protocol has no such thing.
const leaseHeader = "seer-lease"

// exitLease is how a sandbox ends whose lease has run out, as clients know it.
const exitLease = 75

// lease says until when programs keep a sandbox.
type lease struct {
	mu      sync.Mutex
	binding bool      // the sandbox ends with it
	lifted  bool      // for good: nobody has to keep the sandbox
	end     time.Time // zero = no program has kept the sandbox yet
}

// requestedLease is the lease that a creation asks for; nil if it asks for
// none of this server's.
func requestedLease(ctx context.Context) (*lease, error) {
	values := metadata.ValueFromIncomingContext(ctx, leaseHeader)
	if len(values) == 0 {
		return nil, nil
	}
	if values[0] == "none" {
		return &lease{}, nil
	}
	seconds, err := strconv.Atoi(values[0])
	if err != nil || seconds <= 0 {
		return nil, invalid("lease of %q seconds", values[0])
	}
	return &lease{binding: true, end: time.Now().Add(time.Duration(min(seconds, maxTimeout)) * time.Second)}, nil
}

// left is how long the sandbox is kept by now.
func (l *lease) left() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lifted {
		return math.MaxInt64
	}
	return time.Until(l.end)
}

// binds reports whether the sandbox ends when nothing is left of the lease.
func (l *lease) binds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.binding && !l.lifted
}

// renew never shortens a lease: another program may count on it.
func (l *lease) renew(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if end := time.Now().Add(d); end.After(l.end) {
		l.end = end
	}
}

func (l *lease) lift() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lifted = true
}

// leaseService keeps leases. It stands beside Modal's services under a name of
// its own, so that Modal itself could only refuse it.
func leaseService() *grpc.ServiceDesc {
	const name = "seer.Leases"
	return &grpc.ServiceDesc{
		ServiceName: name,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary(name, "LeaseRenew", (*Server).leaseRenew),
			unary(name, "LeaseLift", (*Server).leaseLift),
			unary(name, "LeaseLeft", (*Server).leaseLeft),
		},
	}
}

// kept finds a running sandbox whose lease this server keeps. To look at the
// lease is not to use the sandbox.
func (s *Server) kept(id string) (*sandbox, error) {
	sb, err := s.find(id)
	switch {
	case err != nil:
		return nil, err
	case sb.over():
		return nil, sb.ended()
	case sb.lease == nil:
		return nil, status.Errorf(codes.FailedPrecondition, "sandbox %s was created without a lease of this server's", id)
	}
	return sb, nil
}

func (s *Server) leaseRenew(_ context.Context, r *pb.SandboxWaitRequest) (*emptypb.Empty, error) {
	sb, err := s.kept(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	seconds := r.GetTimeout()
	if !(seconds > 0) {
		return nil, invalid("lease of %v seconds", seconds)
	}
	sb.lease.renew(duration(min(seconds, maxTimeout)))
	return &emptypb.Empty{}, nil
}

func (s *Server) leaseLift(_ context.Context, r *pb.SandboxTerminateRequest) (*emptypb.Empty, error) {
	sb, err := s.kept(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	sb.lease.lift()
	return &emptypb.Empty{}, nil
}

func (s *Server) leaseLeft(_ context.Context, r *pb.SandboxTerminateRequest) (*durationpb.Duration, error) {
	sb, err := s.kept(r.GetSandboxId())
	if err != nil {
		return nil, err
	}
	return durationpb.New(max(sb.lease.left(), 0)), nil
}
