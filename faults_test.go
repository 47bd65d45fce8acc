package seer_test

import (
	"bytes"
	"cmp"
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
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// kindOfFault is one way in which an RPC goes wrong.
type kindOfFault struct {
	name     string
	inflict  func(server *seertest.Server, rpc string)
	deadline time.Duration // of each operation; 0 = a generous one
	survived bool          // no operation may fail of it
	long     bool          // left out unless tests may take long

	ofStreams bool     // no other RPC can go wrong like this
	but       []string // RPCs that are left out, as nothing bounds them
	quotes    bool     // an error has the server's words
	unhurried bool     // operations have no deadline but their own
}

// hasty is how long clients wait in these tests.
var hasty = modalclient.Patience{
	Answer: 1500 * time.Millisecond, Image: 1500 * time.Millisecond, Snapshot: time.Second,
	Poll: time.Second, Outage: 5 * time.Second, Queue: time.Minute,
}

// mostCalls is how many calls of one RPC an operation makes at most, however long
// it goes wrong.
const mostCalls = 60

// hurried is the deadline where something hangs until it. An operation that is
// late for another reason, on a busy machine, is an error like the rest.
const hurried = 400 * time.Millisecond

// throttled is the deadline where an operation must have come as far as the fault
// to tell of it.
const throttled = 4 * time.Second

var kindsOfFault = []kindOfFault{
	{name: "fails once", survived: true, inflict: func(s *seertest.Server, rpc string) { s.Fail(rpc, unavailable(rpc), 1) }},
	{name: "is refused once", inflict: func(s *seertest.Server, rpc string) { s.Fail(rpc, errors.New("injected into "+rpc), 1) }},
	{name: "fails often", survived: true, inflict: func(s *seertest.Server, rpc string) { s.Fail(rpc, unavailable(rpc), 4) }},
	{name: "stalls", deadline: hurried, inflict: func(s *seertest.Server, rpc string) { s.Stall(rpc, 1) }},
	{name: "stalls once", unhurried: true, survived: true, inflict: func(s *seertest.Server, rpc string) { s.Stall(rpc, 1) }},
	// A command may run as long as it likes, so that nothing is wrong with a wait for it.
	{name: "stalls for ever", unhurried: true, but: []string{"TaskExecWait"}, inflict: func(s *seertest.Server, rpc string) { s.Stall(rpc, -1) }},
	{name: "is away for ever", long: true, unhurried: true, quotes: true, inflict: func(s *seertest.Server, rpc string) { s.Fail(rpc, unavailable(rpc), -1) }},
	{name: "is throttled for ever", deadline: throttled, quotes: true, inflict: func(s *seertest.Server, rpc string) {
		s.Fail(rpc, status.Error(codes.ResourceExhausted, "injected into "+rpc), -1)
	}},
	{name: "refuses tokens", unhurried: true, quotes: true, inflict: func(s *seertest.Server, rpc string) {
		s.Fail(rpc, status.Error(codes.Unauthenticated, "injected into "+rpc), -1)
	}},
	{name: "answers late", deadline: hurried, long: true, inflict: func(s *seertest.Server, rpc string) { s.AnswerLate(rpc, 1) }},
	{name: "loses its answer", survived: true, inflict: func(s *seertest.Server, rpc string) { s.Cut(rpc, 0, 1) }},
	{name: "breaks off", survived: true, ofStreams: true, inflict: func(s *seertest.Server, rpc string) { s.Cut(rpc, 1, 2) }},
}

// waits is whether something is waited for that does not come.
func (k kindOfFault) waits() bool { return k.long || k.deadline > 0 || k.unhurried }

// of are those of some RPCs that can go wrong like this.
func (k kindOfFault) of(rpcs []string) []string {
	return slices.DeleteFunc(slices.Clone(rpcs), func(rpc string) bool {
		return k.ofStreams && !slices.Contains(streams, rpc) || slices.Contains(k.but, rpc)
	})
}

func unavailable(rpc string) error { return status.Error(codes.Unavailable, "injected into "+rpc) }

// TestEveryFaultOfEveryRPC runs a sandbox's life while one RPC goes wrong during
// one of its operations: each of those that the operation makes when nothing does.
func TestEveryFaultOfEveryRPC(t *testing.T) {
	running := goleak.IgnoreCurrent()
	var operations []operation
	t.Run("no fault", func(t *testing.T) {
		l := &life{machine: newMachine(t), t: t}
		l.live()
		operations = l.operations
	})
	var rpcs []seertest.Call
	for _, op := range operations {
		rpcs = append(rpcs, op.calls...)
		t.Logf("%s: %s", op.name, strings.Join(distinct(op.calls), " "))
	}
	require.Subset(t, distinct(rpcs), []string{
		"ImageJoinStreaming", "SandboxCreate", "SandboxTagsSet", "SandboxSnapshotFs", "SandboxTerminate", "TaskExecStart", "TaskMountDirectory",
	})

	// Most of the time is spent waiting, so they wait together.
	var cases sync.WaitGroup
	turns := make(chan struct{}, 96)
	for _, kind := range kindsOfFault {
		if kind.long && !longtest.Wanted() {
			continue
		}
		for _, op := range operations {
			for _, rpc := range kind.of(distinct(op.calls)) {
				cases.Go(func() {
					turns <- struct{}{}
					defer func() { <-turns }()
					t.Run(op.name+" "+rpc+" "+kind.name, func(t *testing.T) {
						(&life{machine: newMachine(t), t: t, at: op.name, rpc: rpc, kind: kind}).live()
					})
				})
			}
		}
	}
	cases.Wait()
	goleak.VerifyNone(t, running)
}

// streams are the RPCs whose answers have more than one message.
var streams = []string{"ImageJoinStreaming", "SandboxGetLogs", "TaskExecStdioRead", "VolumeListFiles2"}

func count(calls []seertest.Call, rpc string) int {
	n := 0
	for _, call := range calls {
		if call.RPC == rpc {
			n++
		}
	}
	return n
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
	case strings.Contains(strings.Join(e.Args, " "), "exec cat --"):
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

// life is that of one sandbox, in which an RPC goes wrong during an operation.
type life struct {
	*machine
	t    *testing.T
	at   string // "" = nothing goes wrong
	rpc  string
	kind kindOfFault

	operations []operation
}

// operation is one that was tried, and the calls that came meanwhile.
type operation struct {
	name  string
	calls []seertest.Call
}

// try does an operation. The one that meets the fault succeeds or says what
// went wrong, and does no harm to the others.
func (l *life) try(name string, do func(ctx context.Context) error) bool {
	l.t.Helper()
	before := len(l.server.Calls())
	deadline := time.Minute
	if name == l.at {
		l.kind.inflict(l.server, l.rpc)
		defer l.server.Heal()
		deadline = cmp.Or(l.kind.deadline, deadline)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), deadline)
	defer cancel()
	err := do(ctx)
	calls := l.server.Calls()[before:]
	l.operations = append(l.operations, operation{name, calls})
	if name != l.at || l.kind.survived {
		assert.NoError(l.t, err, name)
	} else if err != nil {
		assert.True(l.t, saysWhy(err, l.rpc), "%s: %v", name, err)
		if l.kind.quotes && count(calls, l.rpc) > 0 {
			assert.ErrorContains(l.t, err, "injected into "+l.rpc, name)
		}
	}
	if name == l.at {
		assert.LessOrEqual(l.t, count(calls, l.rpc), mostCalls, "%s of %s", name, l.rpc)
		if l.kind.unhurried {
			assert.NoError(l.t, ctx.Err(), "%s has no end of its own", name)
		}
	}
	if name == l.at && ctx.Err() == nil {
		assert.Contains(l.t, distinct(calls), l.rpc, "%s has not met the fault", name)
	}
	return err == nil
}

// live starts a sandbox, uses it and ends it. Nothing happens twice, and
// nothing is left.
func (l *life) live() {
	t, m := l.t, l.machine
	var sandbox *seer.Sandbox
	backend := seer.WithBackend(seer.WithPatience(m.server.Backend(), hasty))
	started := l.try("start", func(ctx context.Context) (err error) {
		sandbox, err = seer.NewSandbox(m.config(t), backend).Start(ctx)
		var failed *seer.StartError
		if err != nil {
			assert.ErrorAs(t, err, &failed)
		}
		return err
	})
	assert.LessOrEqual(t, m.count("install"), 1)
	if !started {
		assert.Empty(t, m.server.Sandboxes(), "left by a failed Start")
		return
	}
	assert.Len(t, m.server.Sandboxes(), 1)
	assert.Equal(t, commitOfRepo, sandbox.RepoHandles()[0].Commit)

	for _, command := range []string{"first", "second"} {
		var out string
		done := l.try("exec "+command, func(ctx context.Context) (err error) {
			out, err = sandbox.Exec(ctx, command)
			return err
		})
		assert.LessOrEqual(t, m.count(command), 1, "run twice")
		if done {
			assert.Equal(t, command+" 1", out, "nothing of the output is lost or doubled")
		}
	}
	large := bytes.Repeat([]byte("0123456789"), 1<<15)
	if l.try("write", func(ctx context.Context) error { return sandbox.WriteFile(ctx, "/large", large) }) {
		assert.Equal(t, string(large), m.file("/large"))
		l.try("read", func(ctx context.Context) error {
			data, err := sandbox.ReadFile(ctx, "/large")
			if err == nil {
				assert.True(t, bytes.Equal(large, data), "%d bytes of %d, or others", len(data), len(large))
			}
			return err
		})
	}
	l.try("find URL", func(ctx context.Context) error {
		_, err := sandbox.URL(ctx, 9000)
		return err
	})
	l.try("list", func(ctx context.Context) error {
		for info, err := range seer.List(ctx, seer.Filter{}, backend) {
			if err != nil {
				return err
			}
			assert.Equal(t, sandbox.SandboxID(), info.ID)
		}
		return nil
	})
	l.try("connect", func(ctx context.Context) error {
		again, err := seer.FromID(ctx, sandbox.SandboxID(), backend, seer.WithLease(-1))
		if err != nil {
			return err
		}
		return again.Close()
	})
	var saved *seer.Snapshot
	if l.try("save directory", func(ctx context.Context) (err error) {
		saved, err = sandbox.SnapshotDir(ctx, "/workspace", "a part of it")
		return err
	}) {
		l.try("show directory", func(ctx context.Context) error { return sandbox.RestoreDir(ctx, saved, "/mnt") })
	}
	if l.try("snapshot", func(ctx context.Context) (err error) {
		saved, err = sandbox.Snapshot(ctx, "as it is")
		return err
	}) {
		var restored *seer.Sandbox
		if l.try("restore", func(ctx context.Context) (err error) {
			restored, err = seer.FromSnapshot(ctx, saved, seer.SandboxConfig{}, backend)
			return err
		}) {
			l.end("end the restored", restored)
		}
	}
	assert.LessOrEqual(t, m.count("install"), 1, "once, and not when it is restored")
	l.end("end", sandbox)
	assert.Empty(t, m.server.Sandboxes())
}

// end terminates a sandbox; where that fails, it works once the fault is over.
func (l *life) end(name string, sandbox *seer.Sandbox) {
	l.t.Helper()
	if !l.try(name, func(ctx context.Context) error {
		if name == l.at && !l.kind.survived && !l.kind.unhurried { // it asks again until its time is over
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, hurried)
			defer cancel()
		}
		return sandbox.Terminate(ctx)
	}) {
		terminate(l.t, sandbox)
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

// TestStartSaysThatItIsQueued lets a sandbox wait for a GPU that never comes.
func TestStartSaysThatItIsQueued(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.server.Queue(true)
	var said []string
	_, err := seer.NewSandbox(seer.SandboxConfig{GPU: "H100"}, seer.WithBackend(m.server.Backend()),
		seer.WithQueueTimeout(400*time.Millisecond),
		seer.WithProgress(func(e seer.Event) { said = append(said, e.Text) })).Start(within(t, patience))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "queued for 400ms, no H100 yet")
	assert.Contains(t, strings.Join(said, "\n"), "no H100 yet")
	assert.Empty(t, m.server.Sandboxes(), "nothing is left")

	m.server.Queue(false)
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{GPU: "H100"}, seer.WithBackend(m.server.Backend())).Start(within(t, patience))
	require.NoError(t, err)
	terminate(t, sandbox)
}

// TestLimitsAreToldInEvents throttles the first calls of Start until its caller has enough.
func TestLimitsAreToldInEvents(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.server.Fail("AppGetOrCreate", status.Error(codes.ResourceExhausted, "too many apps today"), -1)
	ctx, cancel := context.WithCancel(within(t, patience))
	defer cancel()
	var said []string
	_, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(m.server.Backend()), seer.WithProgress(func(e seer.Event) {
		if strings.Contains(e.Text, "too many apps today") {
			said = append(said, e.Text)
			cancel()
		}
	})).Start(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "too many apps today")
	assert.NotEmpty(t, said)
}
