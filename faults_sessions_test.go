package seer_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// TestFaultsOfSessionsAndServices does the same to what talks to processes of
// its own in the sandbox: a notebook's cell and a served function. Each leaves
// its mark in a file once, if it says that it ran, and nothing that runs on.
func TestFaultsOfSessionsAndServices(t *testing.T) {
	t.Parallel()
	// What waits does so beside the rest, in a sandbox of its own, if it may take long.
	groups := map[string][]kindOfFault{}
	for _, kind := range kindsOfFault {
		switch {
		case kind.waits() && !longtest.Wanted():
		case kind.waits():
			groups[kind.name] = []kindOfFault{kind}
		default:
			groups["the rest"] = append(groups["the rest"], kind)
		}
	}
	var all sync.WaitGroup
	for name, kinds := range groups {
		for _, use := range []usage{
			{"cell", seer.ModeNotebook, runCell},
			{"serve", seer.ModeCLI, serveAndCall},
		} {
			all.Go(func() { t.Run(use.name+" "+name, func(t *testing.T) { use.meets(t, kinds) }) })
		}
	}
	all.Wait()
}

// usage is one of a sandbox that leaves a mark.
type usage struct {
	name string
	mode seer.ExecutionMode
	do   func(ctx context.Context, t *testing.T, scoped *seer.ScopedSandbox, mark string) error
}

// meets has a usage meet some kinds of fault of each RPC that it makes: of all at
// once where it has to go on.
func (u usage) meets(t *testing.T, kinds []kindOfFault) {
	server := seertest.NewServer(t)
	start := func(t *testing.T) *seer.ScopedSandbox {
		return startScopedOn(t, server, seer.SandboxConfig{ExecutionMode: u.mode})
	}
	scoped := start(t)
	use := func(mark string) (rpcs []string) {
		before := len(server.Calls())
		require.NoError(t, u.do(within(t, patience), t, scoped, mark))
		return distinct(server.Calls()[before:])
	}
	first, again := use("/root/first"), use("/root/second")
	require.Contains(t, again, "TaskExecStart")
	for _, kind := range kinds {
		if kind.survived {
			t.Run("all "+kind.name, func(t *testing.T) { u.meet(t, server, start(t), kind.of(first), kind) })
			continue
		}
		for _, rpc := range first {
			t.Run(rpc+" "+kind.name, func(t *testing.T) {
				met := scoped
				if !slices.Contains(again, rpc) { // but once in the life of a sandbox
					met = start(t)
				}
				u.meet(t, server, met, []string{rpc}, kind)
			})
		}
	}
}

func (u usage) meet(t *testing.T, server *seertest.Server, scoped *seer.ScopedSandbox, rpcs []string, kind kindOfFault) {
	const count = `cat "$1" 2>/dev/null | wc -l; find /run/seer/Jupyter/runtime -name 'kernel-*.json' 2>/dev/null | wc -l`
	deadline := time.Minute
	if kind.waits() {
		deadline = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	mark := "/root/" + strings.ReplaceAll(rpcs[0]+kind.name, " ", "-")
	before := len(server.Calls())
	for _, rpc := range rpcs {
		kind.inflict(server, rpc)
	}
	err := u.do(ctx, t, scoped, mark)
	server.Heal()
	if ctx.Err() == nil {
		assert.Subset(t, distinct(server.Calls()[before:]), rpcs, "not every fault was met")
	}
	out, countErr := scoped.Command("bash", "-c", count, "count", mark).Output(within(t, patience))
	require.NoError(t, countErr, "the sandbox is not harmed")
	counts := strings.Fields(string(out))
	require.Len(t, counts, 2)
	assert.Equal(t, "0", counts[1], "kernels that nobody ended")
	switch {
	case err == nil:
		assert.Equal(t, "1", counts[0])
	case kind.survived:
		assert.NoError(t, err)
	default:
		assert.True(t, saysWhy(err, rpcs[0]), "%v", err)
		assert.Contains(t, []string{"0", "1"}, counts[0])
	}
}

// runCell starts a session, runs a cell that leaves a mark, and ends the session.
func runCell(ctx context.Context, t *testing.T, scoped *seer.ScopedSandbox, mark string) error {
	session, err := seer.NewNotebookSession(ctx, scoped.Sandbox, nil, &seer.NotebookOptions{OutputDir: t.TempDir()})
	if err != nil {
		return err
	}
	result, err := session.Exec(ctx, fmt.Sprintf("with open(%q, 'a') as f: print(f.write('x\\n'))", mark))
	if err == nil {
		assert.Equal(t, "2\n", result.Text())
	}
	if closeErr := session.Close(context.WithoutCancel(ctx)); err == nil {
		err = closeErr
	}
	return err
}

// serveAndCall serves a function that leaves a mark, and calls it.
func serveAndCall(ctx context.Context, t *testing.T, scoped *seer.ScopedSandbox, mark string) error {
	dir := write(t, map[string]string{"marks.py": "@expose\ndef leave(path: str) -> int:\n    with open(path, 'a') as f:\n        return f.write('x\\n')\n"})
	service, err := scoped.Serve(ctx, filepath.Join(dir, "marks.py"), &seer.ServeOptions{
		Workspace: &seer.Workspace{Libraries: []seer.Library{{Name: "helper", Files: map[string]string{"helper.py": "A = 1\n"}}}},
	})
	if err != nil {
		return err
	}
	written, err := seer.CallAs[int](ctx, service, "leave", map[string]any{"path": mark})
	if err == nil {
		assert.Equal(t, 2, written)
	}
	return err
}
