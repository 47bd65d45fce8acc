package seer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// kindOfFault is one way in which an RPC goes wrong.
type kindOfFault struct {
	name     string
	inflict  func(server *seertest.Server, rpc string)
	deadline time.Duration // of each operation; 0 = a generous one
	survived bool          // no operation may fail of it
	long     bool          // left out when tests are to be short
}

// hurried is the deadline where something hangs until it. An operation that is
// late for another reason, on a busy machine, is an error like the rest.
const hurried = 400 * time.Millisecond

var kindsOfFault = []kindOfFault{
	{name: "fails once", survived: true, inflict: func(s *seertest.Server, rpc string) { s.Fail(rpc, unavailable(rpc), 1) }},
	{name: "is refused once", inflict: func(s *seertest.Server, rpc string) { s.Fail(rpc, errors.New("injected into "+rpc), 1) }},
	{name: "fails for ever", long: true, inflict: func(s *seertest.Server, rpc string) { s.Fail(rpc, unavailable(rpc), -1) }},
	{name: "stalls", deadline: hurried, inflict: func(s *seertest.Server, rpc string) { s.Stall(rpc, 1) }},
	{name: "answers late", deadline: hurried, long: true, inflict: func(s *seertest.Server, rpc string) { s.AnswerLate(rpc, 1) }},
	{name: "loses its answer", survived: true, inflict: func(s *seertest.Server, rpc string) { s.Cut(rpc, 0, 1) }},
	{name: "breaks off", survived: true, inflict: func(s *seertest.Server, rpc string) { s.Cut(rpc, 1, 2) }},
}

func unavailable(rpc string) error { return status.Error(codes.Unavailable, "injected into "+rpc) }

// TestEveryFaultOfEveryRPC runs a sandbox's life while one RPC goes wrong: each
// of those that the same life makes when nothing does.
func TestEveryFaultOfEveryRPC(t *testing.T) {
	running := goleak.IgnoreCurrent()
	var rpcs []string
	t.Run("no fault", func(t *testing.T) {
		m := newMachine(t)
		m.live(t, "", kindOfFault{survived: true})
		rpcs = distinct(m.server.Calls())
	})
	require.Subset(t, rpcs, []string{"ImageJoinStreaming", "SandboxCreate", "SandboxTagsSet", "SandboxSnapshotFs", "SandboxTerminate", "TaskExecStart"})
	t.Logf("%d RPCs: %s", len(rpcs), strings.Join(rpcs, " "))

	// Most of the time is spent waiting, so they wait together.
	var cases sync.WaitGroup
	turns := make(chan struct{}, 24)
	for _, kind := range kindsOfFault {
		if kind.long && testing.Short() {
			continue
		}
		for _, rpc := range rpcs {
			cases.Go(func() {
				turns <- struct{}{}
				defer func() { <-turns }()
				t.Run(rpc+" "+kind.name, func(t *testing.T) {
					m := newMachine(t)
					kind.inflict(m.server, rpc)
					m.live(t, rpc, kind)
				})
			})
		}
	}
	cases.Wait()
	goleak.VerifyNone(t, running)
}

func distinct(calls []seertest.Call) []string {
	var rpcs []string
	for _, call := range calls {
		if !slices.Contains(rpcs, call.RPC) {
			rpcs = append(rpcs, call.RPC)
		}
	}
	return rpcs
}

// machine plays the commands of sandboxes: it keeps files and counts what is done twice.
type machine struct {
	server *seertest.Server

	mu     sync.Mutex
	files  map[string]string
	counts map[string]int
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{server: seertest.NewServer(t), files: map[string]string{}, counts: map[string]int{}}
	m.server.HandleExec(m.play)
	return m
}

const commitOfRepo = "0123456789abcdef0123456789abcdef01234567"

func (m *machine) play(e seertest.Exec) seertest.Result {
	input, err := io.ReadAll(e.Stdin)
	if err != nil || e.Context.Err() != nil {
		return seertest.Result{Code: 1}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	last := e.Args[len(e.Args)-1]
	switch {
	case e.Args[0] == "cat":
		fmt.Fprint(e.Stdout, m.files[last])
	case slices.Contains(e.Args, "clone"):
		fmt.Fprintln(e.Stdout, commitOfRepo)
	case slices.Contains(e.Args, "seer"): // a file or an archive
		m.files[e.Args[4]] = string(input)
	case e.Args[0] == "bash":
		m.counts[last]++
		fmt.Fprintf(e.Stdout, "%s %d", last, m.counts[last])
	}
	return seertest.Result{}
}

func (m *machine) count(command string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[command]
}

func (m *machine) file(path string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.files[path]
}

// config needs every step of Start that needs no network.
func (m *machine) config(t *testing.T) seer.SandboxConfig {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600))
	return seer.SandboxConfig{
		SetupCommands:  []string{"prepare"},
		Env:            map[string]string{"A": "b"},
		LocalFiles:     []seer.Mount{{Source: filepath.Join(dir, "file"), Target: "/workspace/file"}},
		LocalDirs:      []seer.Mount{{Source: dir, Target: "/workspace/dir"}},
		Repos:          []seer.RepoConfig{{URL: "org/repo", Install: "install"}},
		EncryptedPorts: []int{9000},
		Tags:           map[string]string{"team": "red"},
	}
}

// live starts a sandbox, uses it and ends it. Every operation succeeds or says
// what went wrong, nothing happens twice, and nothing is left.
func (m *machine) live(t *testing.T, rpc string, kind kindOfFault) {
	check := func(op string, err error) bool {
		t.Helper()
		if kind.survived {
			assert.NoError(t, err, op)
		} else if err != nil {
			assert.True(t, saysWhy(err, rpc), "%s: %v", op, err)
		}
		return err == nil
	}
	var sandbox *seer.Sandbox
	var image *seer.Snapshot
	backend := seer.WithBackend(m.server.Backend())
	try := func(op string, do func(ctx context.Context) error) bool {
		t.Helper()
		deadline := kind.deadline
		if deadline == 0 {
			deadline = time.Minute
		}
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		return check(op, do(ctx))
	}

	started := try("start", func(ctx context.Context) (err error) {
		sandbox, err = seer.NewSandbox(m.config(t), backend).Start(ctx)
		var failed *seer.StartError
		if err != nil {
			assert.ErrorAs(t, err, &failed)
		}
		return err
	})
	assert.LessOrEqual(t, m.count("install"), 1)
	if !started {
		m.server.Heal()
		assert.Empty(t, m.server.Sandboxes(), "left by a failed Start")
		return
	}
	assert.Len(t, m.server.Sandboxes(), 1)
	assert.Equal(t, commitOfRepo, sandbox.RepoHandles()[0].Commit)

	for _, command := range []string{"first", "second"} {
		var out string
		done := try("exec", func(ctx context.Context) (err error) {
			out, err = sandbox.Exec(ctx, command)
			return err
		})
		assert.LessOrEqual(t, m.count(command), 1, "run twice")
		if done {
			assert.Equal(t, command+" 1", out, "nothing of the output is lost or doubled")
		}
	}
	large := bytes.Repeat([]byte("0123456789"), 1<<15)
	if try("write", func(ctx context.Context) error { return sandbox.WriteFile(ctx, "/large", large) }) {
		assert.Equal(t, string(large), m.file("/large"))
		if try("read", func(ctx context.Context) error {
			data, err := sandbox.ReadFile(ctx, "/large")
			if err == nil {
				assert.Equal(t, len(large), len(data))
			}
			return err
		}) {
			assert.Equal(t, string(large), m.file("/large"))
		}
	}
	try("find URL", func(ctx context.Context) error {
		_, err := sandbox.URL(ctx, 9000)
		return err
	})
	try("connect", func(ctx context.Context) error {
		again, err := seer.FromID(ctx, sandbox.SandboxID(), backend, seer.WithLease(-1))
		if err != nil {
			return err
		}
		return again.Close()
	})
	if try("snapshot", func(ctx context.Context) (err error) {
		image, err = sandbox.Snapshot(ctx, "as it is")
		return err
	}) {
		try("restore", func(ctx context.Context) error {
			restored, err := seer.FromSnapshot(ctx, image, seer.SandboxConfig{}, backend)
			if err != nil {
				return err
			}
			m.end(t, restored, check)
			return nil
		})
	}
	m.end(t, sandbox, check)
	assert.Empty(t, m.server.Sandboxes())
}

// end terminates a sandbox; where that fails, it works once the fault is over.
func (m *machine) end(t *testing.T, sandbox *seer.Sandbox, check func(string, error) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hurried)
	defer cancel()
	if !check("terminate", sandbox.Terminate(ctx)) {
		m.server.Heal()
		terminate(t, sandbox)
	}
}

// saysWhy reports whether users can tell from an error what went wrong.
func saysWhy(err error, rpc string) bool {
	for _, known := range []error{
		context.DeadlineExceeded, seer.ErrTerminated, seer.ErrSandboxLost, seer.ErrUnauthorized, seer.ErrNotFound,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return strings.Contains(err.Error(), "injected into "+rpc)
}
