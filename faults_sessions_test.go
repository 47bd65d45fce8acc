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
	"github.com/ajobi-uhc/seer-go/seertest"
)

// TestFaultsOfSessionsAndServices does the same to what talks to processes of
// its own in the sandbox: a notebook's cell and a served function. Each leaves
// its mark in a file once, if it says that it ran, and nothing that runs on.
func TestFaultsOfSessionsAndServices(t *testing.T) {
	const count = `cat "$1" 2>/dev/null | wc -l; find /run/seer/Jupyter/runtime -name 'kernel-*.json' | wc -l`
	// Of the others, TestEveryFaultOfEveryRPC has enough.
	kinds := []string{"is refused once", "stalls", "loses its answer"}
	var both sync.WaitGroup
	for name, use := range map[string]func(ctx context.Context, t *testing.T, scoped *seer.ScopedSandbox, mark string) error{
		"cell":  runCell,
		"serve": serveAndCall,
	} {
		both.Go(func() {
			t.Run(name, func(t *testing.T) {
				server := seertest.NewServer(t)
				scoped := startScopedOn(t, server, seer.SandboxConfig{ExecutionMode: seer.ModeNotebook})
				before := len(server.Calls())
				require.NoError(t, use(within(t, time.Minute), t, scoped, "/root/clean"))
				rpcs := distinct(server.Calls()[before:])
				require.Contains(t, rpcs, "TaskExecStart")
				for _, kind := range kindsOfFault {
					if !slices.Contains(kinds, kind.name) || testing.Short() && kind.survived {
						continue
					}
					for _, rpc := range rpcs {
						t.Run(rpc+" "+kind.name, func(t *testing.T) {
							deadline := time.Minute
							if kind.deadline > 0 {
								deadline = 2 * time.Second
							}
							ctx, cancel := context.WithTimeout(t.Context(), deadline)
							defer cancel()
							mark := "/root/" + strings.ReplaceAll(rpc+kind.name, " ", "-")
							kind.inflict(server, rpc)
							err := use(ctx, t, scoped, mark)
							server.Heal()
							out, countErr := scoped.Command("bash", "-c", count, "count", mark).Output(within(t, time.Minute))
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
								assert.True(t, saysWhy(err, rpc), "%v", err)
								assert.Contains(t, []string{"0", "1"}, counts[0])
							}
						})
					}
				}
			})
		})
	}
	both.Wait()
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
