package seertest

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ajobi-uhc/seer-go/internal/modalserver"
)

// Of a fault's parameters, rpc is the name that [Server.Calls] has, such as
// "SandboxCreate", or "" for every RPC; times is how many calls it befalls, or
// all from now on when it is negative. Each call meets at most one fault: the
// one that was asked for first.

type faultKind int

const (
	refused faultKind = iota // err is the answer
	stalled                  // there is no answer
	cut                      // err is the answer after so many messages
	tooLate                  // the answer waits until nobody wants it
)

type fault struct {
	kind  faultKind
	rpc   string // "" = every one
	left  int    // calls yet to come; negative = without end
	err   error  // refused and cut
	after int    // cut: messages that get through
}

// Fail answers the next calls of an RPC with err instead of running them:
// times of them, or all from now on when times is negative. An rpc of ""
// means every RPC. An err without a gRPC status becomes DataLoss, which no
// client retries. It may be made with grpc's status package to choose another
// code; clients retry Unavailable, Internal, Unknown and a few more by
// themselves.
func (s *Server) Fail(rpc string, err error, times int) {
	if _, ok := status.FromError(err); !ok {
		err = status.Error(codes.DataLoss, err.Error())
	}
	s.inflict(fault{kind: refused, rpc: rpc, err: err, left: times})
}

// Stall leaves the next calls of an RPC, counted as by [Server.Fail], without
// an answer. They change nothing, and hang until their caller gives up.
func (s *Server) Stall(rpc string, times int) {
	s.inflict(fault{kind: stalled, rpc: rpc, left: times})
}

// Cut breaks off the answers of the next calls of an RPC, counted as by
// [Server.Fail], as a lost connection does: the caller gets so many messages
// of a stream and then Unavailable; a shorter one stays whole. Any other call has one message for its
// answer: it runs, and with messages = 0 its caller never learns of it.
func (s *Server) Cut(rpc string, messages, times int) {
	s.inflict(fault{
		kind: cut, rpc: rpc, after: messages, left: times,
		err: status.Error(codes.Unavailable, "seertest: the answer was cut off"),
	})
}

// AnswerLate runs the next calls of an RPC, counted as by [Server.Fail], but
// keeps their answers back until the caller has given up: what they do is
// done, and nobody knows.
func (s *Server) AnswerLate(rpc string, times int) {
	s.inflict(fault{kind: tooLate, rpc: rpc, left: times})
}

// Delay holds every call of an RPC back for d before it runs; an rpc of ""
// means every RPC, a d of 0 ends it.
func (s *Server) Delay(rpc string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delays[rpc] = d
}

// Queue lets sandboxes wait for a machine, as those of Modal do while a GPU is in
// demand, until it is called with false or [Server.Heal] is.
func (s *Server) Queue(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

func (s *Server) isFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}

// Heal ends all faults, delays and queues. Calls that hang go on hanging.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.full = nil, false
	clear(s.delays)
}

// AdvanceClock puts the server's clock forward by d, or back when d is
// negative, as far as tokens go: those that it gave out live an hour by it.
func (s *Server) AdvanceClock(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

func (s *Server) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.ahead)
}

func (s *Server) inflict(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &f)
}

// take returns the fault that befalls a call, among those that come before it
// runs or those that come with its answer; nil if there is none.
func (s *Server) take(rpc string, withAnswer bool) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.left == 0 || f.rpc != "" && f.rpc != rpc {
			continue
		}
		if withAnswer != (f.kind == cut || f.kind == tooLate) {
			continue
		}
		f.left--
		return f
	}
	return nil
}

// see is the server's hook.
func (s *Server) see(ctx context.Context, call modalserver.Call) error {
	s.mu.Lock()
	s.calls = append(s.calls, Call{RPC: call.Method, Request: describe(call.Request)})
	delay := s.delays[call.Method] + s.delays[""]
	s.mu.Unlock()
	f := s.take(call.Method, false)
	if delay > 0 {
		if err := wait(ctx, delay); err != nil {
			return err
		}
	}
	switch {
	case f == nil:
		return nil
	case f.kind == stalled:
		return untilGivenUp(ctx)
	}
	return f.err
}

// spoil is the server's as well: it sees the answers.
func (s *Server) spoil(ctx context.Context, call modalserver.Call) func(sent int) error {
	f := s.take(call.Method, true)
	if f == nil {
		return nil
	}
	return func(sent int) error {
		switch {
		case f.kind == tooLate:
			return untilGivenUp(ctx)
		case sent >= f.after:
			return f.err
		}
		return nil
	}
}

func untilGivenUp(ctx context.Context) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}
