package mcpserver

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Fleet is a set of running sandboxes. Each of its methods refuses an ID that
// is not of the set.
type Fleet interface {
	// ListSandboxes returns those that a query takes, newest first.
	ListSandboxes(ctx context.Context, query SandboxQuery) ([]SandboxInfo, error)
	SandboxDetails(ctx context.Context, id string) (SandboxDetails, error)
	RunIn(ctx context.Context, id string, command SandboxCommand, output func(text string)) (Outcome, error)
	// ReadFrom returns at most limit bytes of a file from the byte offset on,
	// and how many the whole file has.
	ReadFrom(ctx context.Context, id, path string, offset, limit int64) (data []byte, size int64, err error)
	WriteTo(ctx context.Context, id, path string, data []byte) error
	// SnapshotOf returns what a person or program needs to restore it.
	SnapshotOf(ctx context.Context, id, description string) (any, error)
	TerminateSandbox(ctx context.Context, id string) error
}

// SandboxQuery chooses sandboxes. The zero query takes all.
type SandboxQuery struct {
	Program string            // "" = any
	Tags    map[string]string // all of these; nil = any
}

// SandboxInfo is a sandbox in a list.
type SandboxInfo struct {
	ID        string            `json:"id"`
	Owner     string            `json:"owner,omitempty"`
	Program   string            `json:"program,omitempty"`
	CreatedAt time.Time         `json:"created_at"`
	Age       string            `json:"age"`
	Lease     string            `json:"lease"` // a duration, "none" or "detached"
	Tags      map[string]string `json:"tags,omitempty"`
}

// SandboxDetails is all that there is to tell about a sandbox.
type SandboxDetails struct {
	SandboxInfo
	Backend  string         `json:"backend"`
	Hardware string         `json:"hardware,omitempty"` // such as "2x A100"
	Timeout  string         `json:"timeout,omitempty"`
	EndsAt   time.Time      `json:"ends_at,omitzero"`
	Ports    map[int]string `json:"ports,omitempty"` // URL by port
	Models   []string       `json:"models,omitempty"`
	Repos    []string       `json:"repos,omitempty"`
}

// SandboxCommand is a command for bash.
type SandboxCommand struct {
	Command string
	Dir     string        // "" = where the sandbox's commands start
	Timeout time.Duration // 0 = the fleet's own
}

const (
	// maxListed bounds a list, in sandboxes.
	maxListed = 100
	// besideSlice is room for what a result says beside a part of a file.
	besideSlice = 1000
	// maxSeconds is more than any sandbox lives.
	maxSeconds = 1_000_000
)

type listSandboxesInput struct {
	Program string            `json:"program,omitempty" jsonschema:"only those that a program of this name started"`
	Tags    map[string]string `json:"tags,omitempty" jsonschema:"only those with all of these tags"`
}

type sandboxInput struct {
	Sandbox string `json:"sandbox" jsonschema:"ID of the sandbox, as list_sandboxes shows it"`
}

type runInput struct {
	sandboxInput
	Command string `json:"command" jsonschema:"command for bash"`
	Dir     string `json:"dir,omitempty" jsonschema:"directory to run it in, as an absolute path"`
	Timeout int    `json:"timeout_seconds,omitempty" jsonschema:"kill the command after so many seconds; it cannot outlast the server's own limit"`
}

type readSandboxInput struct {
	sandboxInput
	Path   string `json:"path" jsonschema:"absolute path of the file"`
	Offset int64  `json:"offset,omitempty" jsonschema:"byte to start at"`
}

type writeSandboxInput struct {
	sandboxInput
	Path    string `json:"path" jsonschema:"absolute path of the file"`
	Content string `json:"content" jsonschema:"the file's whole text"`
}

type snapshotInput struct {
	sandboxInput
	Description string `json:"description,omitempty" jsonschema:"text to keep with the snapshot"`
}

func (s *Server) fleet(f Fleet) {
	tool(s, "list_sandboxes", "List the running sandboxes that can be managed, newest first.", reads,
		func(ctx context.Context, in listSandboxesInput, _ func(string)) (Outcome, error) {
			found, err := f.ListSandboxes(ctx, SandboxQuery(in))
			if err != nil {
				return Outcome{}, err
			}
			return listed(found)
		})
	tool(s, "sandbox_info", "Tell what a sandbox is: its hardware, when it ends, the URLs of its ports, its models and repositories.", reads,
		func(ctx context.Context, in sandboxInput, _ func(string)) (Outcome, error) {
			return asJSON(f.SandboxDetails(ctx, in.Sandbox))
		})
	tool(s, "run_command", "Run a command with bash in a sandbox. Returns what it prints; of a long output the middle is left out.", destroys,
		func(ctx context.Context, in runInput, output func(string)) (Outcome, error) {
			if in.Timeout < 0 {
				return Outcome{}, fmt.Errorf("run command: timeout_seconds %d is negative", in.Timeout)
			}
			command := SandboxCommand{Command: in.Command, Dir: in.Dir, Timeout: time.Duration(min(in.Timeout, maxSeconds)) * time.Second}
			return f.RunIn(ctx, in.Sandbox, command, output)
		})
	slice := int64(s.maxText - besideSlice)
	tool(s, "read_file", fmt.Sprintf("Read a text file of a sandbox, at most %d bytes at once.", slice), reads,
		func(ctx context.Context, in readSandboxInput, _ func(string)) (Outcome, error) {
			return readSlice(ctx, f, in, slice)
		})
	tool(s, "write_file", "Write a text file in a sandbox, with its parent directories. Replaces one that is there.", destroys,
		func(ctx context.Context, in writeSandboxInput, _ func(string)) (Outcome, error) {
			return said(f.WriteTo(ctx, in.Sandbox, in.Path, []byte(in.Content)), "Wrote %d bytes.", len(in.Content))
		})
	tool(s, "snapshot_sandbox", "Save the file system of a sandbox, which runs on. Returns the snapshot as JSON: "+
		"keep all of it in a file, `seer restore FILE` starts a sandbox from it.", adds,
		func(ctx context.Context, in snapshotInput, _ func(string)) (Outcome, error) {
			return asJSON(f.SnapshotOf(ctx, in.Sandbox, in.Description))
		})
	tool(s, "terminate_sandbox", "End a sandbox for good, with everything in it that was not saved.", destroys,
		func(ctx context.Context, in sandboxInput, _ func(string)) (Outcome, error) {
			return said(f.TerminateSandbox(ctx, in.Sandbox), "Ended %s.", in.Sandbox)
		})
}

func asJSON(value any, err error) (Outcome, error) {
	if err != nil {
		return Outcome{}, err
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(value)
	return Outcome{Text: text.String()}, err
}

func listed(found []SandboxInfo) (Outcome, error) {
	if len(found) == 0 {
		return Outcome{Text: "None is running."}, nil
	}
	left := len(found) - maxListed
	outcome, err := asJSON(found[:min(len(found), maxListed)], nil)
	if left > 0 {
		outcome.Text += fmt.Sprintf("[%d older ones left out: choose by program or tags]", left)
	}
	return outcome, err
}

func readSlice(ctx context.Context, f Fleet, in readSandboxInput, slice int64) (Outcome, error) {
	if in.Offset < 0 {
		return Outcome{}, fmt.Errorf("read %s: offset %d is negative", in.Path, in.Offset)
	}
	data, size, err := f.ReadFrom(ctx, in.Sandbox, in.Path, in.Offset, slice)
	if err != nil {
		return Outcome{}, err
	}
	read := int64(len(data))
	if in.Offset+read < size {
		data = wholeRunes(data)
	}
	if !utf8.Valid(data) {
		return Outcome{}, fmt.Errorf("read %s: not a text file (%d bytes)", in.Path, size)
	}
	end := in.Offset + int64(len(data))
	switch {
	case size == 0 && read == 0:
		return Outcome{Text: "(empty)"}, nil
	case in.Offset > 0 && read == 0:
		return Outcome{}, fmt.Errorf("read %s: offset %d is behind its end, it has %d bytes", in.Path, in.Offset, size)
	case end < size:
		return Outcome{Text: fmt.Sprintf("%s\n[bytes %d to %d of %d: go on with offset %d]", data, in.Offset, end, size, end)}, nil
	}
	return Outcome{Text: string(data)}, nil
}

// wholeRunes leaves out a last rune that was cut in two.
func wholeRunes(data []byte) []byte {
	for cut := 1; cut < utf8.UTFMax && cut <= len(data); cut++ {
		if last := data[len(data)-cut:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return data[:len(data)-cut]
			}
			break
		}
	}
	return data
}
