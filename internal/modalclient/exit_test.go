package modalclient

import (
	"testing"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
	"github.com/stretchr/testify/assert"
)

// Every status of a result has a reason, and words where the server has none.
func TestEveryStatusOfAResult(t *testing.T) {
	want := map[int32]Exit{
		0: {Reason: ReasonFailed, Message: "status unspecified"}, 1: {Reason: ReasonExited}, 2: {Reason: ReasonExited},
		3: {Reason: ReasonTerminated}, 4: {Reason: ReasonTimeout}, 5: {Reason: ReasonFailed, Message: "status init failure"},
		6: {Reason: ReasonFailed, Message: "status internal failure"}, 7: {Reason: ReasonIdleTimeout},
		8: {Reason: ReasonMemory}, 9: {Reason: ReasonMemory}, 10: {Reason: ReasonMemory}, 11: {Reason: ReasonFailed, Message: "status 11"},
	}
	for number := range pb.GenericResult_GenericStatus_name {
		assert.Contains(t, want, number)
	}
	for number, exit := range want {
		status := pb.GenericResult_GenericStatus(number)
		assert.Equal(t, exit, exitOf(pb.GenericResult_builder{Status: status}.Build()), "%d", number)
		exit.Message = "the server's words"
		got := exitOf(pb.GenericResult_builder{Status: status, Exception: exit.Message}.Build())
		assert.Equal(t, exit, got)
		assert.Contains(t, got.String(), exit.Message)
	}
}
