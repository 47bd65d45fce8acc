package modalclient

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	pb "github.com/modal-labs/libmodal/modal-go/proto/modal_proto"
)

// Reason says why a sandbox ended.
type Reason string

// The reasons.
const (
	ReasonExited      Reason = "exited"       // its command ended; Exit.Code counts
	ReasonTimeout     Reason = "timeout"      // CreateSpec.Timeout
	ReasonIdleTimeout Reason = "idle timeout" // CreateSpec.IdleTimeout
	ReasonTerminated  Reason = "terminated"   // somebody asked for it
	ReasonMemory      Reason = "out of memory"
	ReasonFailed      Reason = "failed" // it never ran, or the server gave it up
)

// Exit says how a sandbox ended.
type Exit struct {
	Code    int // of the sandbox's command, where Reason is ReasonExited
	Reason  Reason
	Message string // the server's own words, where it has any
}

func (e Exit) String() string {
	text := ""
	switch e.Reason {
	case ReasonExited:
		text = fmt.Sprintf("ended: its command exited with status %d", e.Code)
	case ReasonTimeout:
		text = "ended: its lifetime ran out"
	case ReasonIdleTimeout:
		text = "ended: it was idle for too long"
	case ReasonTerminated:
		text = "was terminated"
	case ReasonMemory:
		text = "ran out of memory"
	default:
		text = "failed"
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Ends for want of memory, which modal-go's protocol does not name yet: evictions
// to make room for others, and a sandbox's own limit.
const (
	firstOfMemory = 8
	lastOfMemory  = 10
)

func exitOf(result *pb.GenericResult) Exit {
	exit := Exit{Code: int(result.GetExitcode()), Message: result.GetException()}
	switch result.GetStatus() {
	case pb.GenericResult_GENERIC_STATUS_SUCCESS, pb.GenericResult_GENERIC_STATUS_FAILURE:
		exit.Reason = ReasonExited
	case pb.GenericResult_GENERIC_STATUS_TIMEOUT:
		exit.Reason = ReasonTimeout
	case pb.GenericResult_GENERIC_STATUS_IDLE_TIMEOUT:
		exit.Reason = ReasonIdleTimeout
	case pb.GenericResult_GENERIC_STATUS_TERMINATED:
		exit.Reason = ReasonTerminated
	default:
		exit.Reason = ReasonFailed
		if status := result.GetStatus(); status >= firstOfMemory && status <= lastOfMemory {
			exit.Reason = ReasonMemory
		} else if exit.Message == "" {
			name := strings.TrimPrefix(status.String(), "GENERIC_STATUS_")
			exit.Message = "status " + strings.ToLower(strings.ReplaceAll(name, "_", " "))
		}
	}
	return exit
}

func wireTags(tags map[string]string) []*pb.SandboxTag {
	list := make([]*pb.SandboxTag, 0, len(tags))
	for name, value := range maps.All(tags) {
		list = append(list, pb.SandboxTag_builder{TagName: name, TagValue: value}.Build())
	}
	slices.SortFunc(list, func(a, b *pb.SandboxTag) int { return cmp.Compare(a.GetTagName(), b.GetTagName()) })
	return list
}

func tagMap(list []*pb.SandboxTag) map[string]string {
	tags := make(map[string]string, len(list))
	for _, tag := range list {
		tags[tag.GetTagName()] = tag.GetTagValue()
	}
	return tags
}
