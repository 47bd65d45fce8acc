package modalclient

import (
	"context"
	"strconv"
	"time"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/emptypb"
)

// leaseHeader is how a server says with each answer that it keeps leases.
const leaseHeader = "seer-leases"

// KeepsLeases reports whether the server keeps leases of sandboxes, where no
// process of theirs reaches them. Modal does not, nor does what forwards to it
// from an address of this machine; the local backend does. It is known from the
// first answer on.
func (c *Client) KeepsLeases() bool { return c.leases.Load() }

// hearLeases looks for leaseHeader in answers.
func (c *Client) hearLeases(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if c.KeepsLeases() {
		return invoke(ctx, method, request, reply, conn, opts...)
	}
	var header metadata.MD
	err := invoke(ctx, method, request, reply, conn, append(opts, grpc.Header(&header))...)
	if len(header.Get(leaseHeader)) > 0 {
		c.leases.Store(true)
	}
	return err
}

// withLease has a create ask for a sandbox that ends with its lease.
func withLease(ctx context.Context, lease time.Duration) context.Context {
	value := "none"
	if lease > 0 {
		value = strconv.Itoa(int(wholeSeconds(lease) / time.Second))
	}
	return metadata.AppendToOutgoingContext(ctx, "seer-lease", value)
}

// KeepsLease is [Client.KeepsLeases] of the sandbox's server.
func (s *Sandbox) KeepsLease() bool { return s.client.KeepsLeases() }

// RenewLease keeps the sandbox for at least that long from now. Where it was
// created without a lease it does not get one; Lease tells of it all the same.
func (s *Sandbox) RenewLease(ctx context.Context, lease time.Duration) error {
	request := pb.SandboxWaitRequest_builder{SandboxId: s.id, Timeout: float32(lease.Seconds())}.Build()
	return s.callLease(ctx, "LeaseRenew", request, &emptypb.Empty{})
}

// LiftLease lets the sandbox live until its timeout, for good.
func (s *Sandbox) LiftLease(ctx context.Context) error {
	return s.callLease(ctx, "LeaseLift", pb.SandboxTerminateRequest_builder{SandboxId: s.id}.Build(), &emptypb.Empty{})
}

// LeaseLeft is for how long programs keep the sandbox from now on; 0 = none does.
func (s *Sandbox) LeaseLeft(ctx context.Context) (time.Duration, error) {
	left := &durationpb.Duration{}
	err := s.callLease(ctx, "LeaseLeft", pb.SandboxTerminateRequest_builder{SandboxId: s.id}.Build(), left)
	return left.AsDuration(), err
}

func (s *Sandbox) callLease(ctx context.Context, method string, request, answer proto.Message) error {
	if err := s.client.conn.Invoke(ctx, "/seer.Leases/"+method, request, answer); err != nil {
		return s.explain(ctx, "keep lease of sandbox "+s.id, err)
	}
	return nil
}
