package seer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func TestLifeOfASandbox(t *testing.T) {
	server := seertest.NewServer(t)
	sandbox := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(server.Backend()))
	assert.Empty(t, sandbox.SandboxID())
	_, err := sandbox.Exec(t.Context(), "true")
	require.ErrorIs(t, err, seer.ErrNotStarted)

	started, err := sandbox.Start(t.Context())
	require.NoError(t, err)
	assert.Same(t, sandbox, started)
	assert.Equal(t, "local", sandbox.Backend())
	assert.Regexp(t, `^sb-[0-9A-Za-z]{22}$`, sandbox.SandboxID())
	_, err = sandbox.Start(t.Context())
	require.ErrorContains(t, err, "already started") // D7

	select {
	case <-sandbox.Done():
		t.Fatal("done before its end")
	default:
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, sandbox.Terminate(cancelled), "works after its context has ended")
	require.NoError(t, sandbox.Terminate(t.Context()), "is idempotent")
	assert.Empty(t, server.Sandboxes())
	assert.NotEmpty(t, sandbox.SandboxID(), "keeps the ID") // D8
	<-sandbox.Done()
	_, err = sandbox.Exec(t.Context(), "true")
	require.ErrorIs(t, err, seer.ErrTerminated)
	require.ErrorIs(t, sandbox.Wait(t.Context()), seer.ErrTerminated)
}

func TestTimeoutEndsTheSandbox(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{Timeout: 2 * time.Second})
	ctx := within(t, patience)
	_, err := sandbox.Exec(ctx, "sleep 100")
	require.ErrorIs(t, err, seer.ErrTerminated, "an exec under way learns of it")
	err = sandbox.Wait(ctx)
	var timeout *seer.TimeoutError
	require.ErrorAs(t, err, &timeout)
	require.ErrorIs(t, err, seer.ErrTerminated)
	assert.ErrorContains(t, err, "Timeout")
	_, err = sandbox.Exec(ctx, "true")
	require.ErrorIs(t, err, seer.ErrTerminated)
	assert.ErrorContains(t, err, "Timeout")
}

func TestIdleTimeoutEndsTheSandbox(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{IdleTimeout: 2 * time.Second})
	err := sandbox.Wait(within(t, patience))
	require.ErrorIs(t, err, seer.ErrTerminated)
	assert.ErrorContains(t, err, "IdleTimeout")
}

func TestASandboxThatDiesUnderACommandIsLost(t *testing.T) {
	for name, kill := range map[string]func(*testing.T, *seer.Sandbox){
		"its first process": func(t *testing.T, _ *seer.Sandbox) { killFirstProcess(t) },
		"its own command": func(t *testing.T, sandbox *seer.Sandbox) {
			_, _ = sandbox.Exec(t.Context(), `for p in /proc/[0-9]*; do grep -qsa 'seer-watchdo[g]' $p/cmdline && kill -KILL ${p#/proc/}; done`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			// A server that keeps leases keeps the sandbox, too, when its command has ended.
			server := seertest.NewServer(t, seertest.WithoutLeases())
			sandbox := startOn(t, server, seer.SandboxConfig{})
			ctx := within(t, patience)
			read, stdout := io.Pipe()
			defer func() { _ = read.Close() }()
			cmd := sandbox.Command("sh", "-c", "echo up; exec sleep 1000")
			cmd.Stdout = stdout
			require.NoError(t, cmd.Start(ctx))
			_, err := io.ReadFull(read, make([]byte, 3))
			require.NoError(t, err)
			kill(t, sandbox)

			err = cmd.Wait()
			require.ErrorIs(t, err, seer.ErrSandboxLost)
			require.ErrorIs(t, err, seer.ErrTerminated)
			var exit *seer.ExitError
			require.NotErrorAs(t, err, &exit, "a made-up exit code")
			_, err = sandbox.Exec(ctx, "true")
			require.ErrorIs(t, err, seer.ErrTerminated, "the next one")
			require.ErrorIs(t, sandbox.Wait(ctx), seer.ErrSandboxLost)
		})
	}
}

// killFirstProcess kills the first process of this program's only sandbox.
func killFirstProcess(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(t, err)
	for _, file := range files {
		stat, _ := os.ReadFile(file) // a process may have ended
		commandLine, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		_, rest, _ := strings.Cut(string(stat), ") ") // state, parent
		if fields := strings.Fields(rest); len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) || string(commandLine) != "seer-sandbox\x00" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		require.NoError(t, err)
		process, err := os.FindProcess(pid)
		require.NoError(t, err)
		require.NoError(t, process.Kill())
		return
	}
	t.Fatal("no sandbox runs")
}

func TestLeaseEndsAForgottenSandbox(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	kept := startOn(t, server, seer.SandboxConfig{}, seer.WithLease(3*time.Second))
	closed := startClosed(t, server, seer.SandboxConfig{}, seer.WithLease(3*time.Second))

	id, kill := startForgetful(t, server, "3s")
	forgotten, err := seer.FromID(t.Context(), id, seer.WithBackend(server.Backend()), seer.WithLease(-1))
	require.NoError(t, err)
	t.Cleanup(func() { terminate(t, forgotten) })
	kill()
	err = forgotten.Wait(within(t, patience))
	require.ErrorIs(t, err, seer.ErrTerminated)
	assert.ErrorContains(t, err, "lease")

	_, err = kept.Exec(t.Context(), "true")
	require.NoError(t, err, "a renewed lease does not run out")
	endClosed(t, server, closed.SandboxID()) // which Close kept alive
}

func TestFromID(t *testing.T) {
	server := seertest.NewServer(t)
	config := seer.SandboxConfig{Env: map[string]string{"WHO": "me"}, EncryptedPorts: []int{9000}}
	first, err := seer.NewSandbox(config, seer.WithBackend(server.Backend())).Start(t.Context())
	require.NoError(t, err)
	require.NoError(t, first.WriteFile(t.Context(), "/root/note", []byte("hi")))
	require.NoError(t, first.Close())
	_, err = first.Exec(t.Context(), "true")
	require.ErrorIs(t, err, seer.ErrNotStarted)

	second, err := seer.FromID(t.Context(), first.SandboxID(), seer.WithBackend(server.Backend()))
	require.NoError(t, err)
	out, err := second.Exec(t.Context(), `echo "$WHO"; cat /root/note`)
	require.NoError(t, err)
	assert.Equal(t, "me\nhi", out)
	url, err := second.URL(t.Context(), 9000)
	require.NoError(t, err)
	assert.Regexp(t, `^http://`, url)
	_, err = second.URL(t.Context(), 9001)
	require.ErrorIs(t, err, seer.ErrNotFound)
	terminate(t, second)

	_, err = seer.FromID(t.Context(), second.SandboxID(), seer.WithBackend(server.Backend()))
	require.ErrorIs(t, err, seer.ErrTerminated)
	_, err = seer.FromID(t.Context(), "sb-nothing0000000000000000", seer.WithBackend(server.Backend()))
	require.ErrorIs(t, err, seer.ErrNotFound)
}

func TestConfigErrorsComeBeforeAnything(t *testing.T) {
	server := seertest.NewServer(t)
	config := seer.SandboxConfig{
		GPU:            "A 100",
		Timeout:        25 * time.Hour,
		Secrets:        []string{"SEER_TEST_NO_SUCH_SECRET"},
		PythonPackages: []string{"torch;rm -rf"},
		LocalFiles:     []seer.Mount{{Source: "no-such-file", Target: "relative"}}, // D24
	}
	_, err := seer.NewSandbox(config, seer.WithBackend(server.Backend())).Start(t.Context())
	var bad *seer.ConfigError
	require.ErrorAs(t, err, &bad)
	var fields []string
	for _, p := range bad.Problems {
		fields = append(fields, p.Field)
	}
	for _, want := range []string{"GPU", "Timeout", "Secrets[0]", "PythonPackages[0]", "LocalFiles[0].Source", "LocalFiles[0].Target"} {
		assert.Contains(t, fields, want)
	}
	assert.Empty(t, server.Calls())

	_, err = seer.NewSandbox(seer.SandboxConfig{GPU: "H100"}, seer.WithBackend(server.Backend())).Start(t.Context())
	require.ErrorIs(t, err, seer.ErrNoGPU)
	assert.ErrorContains(t, err, "Modal")
	_, err = seer.NewSandbox(seer.SandboxConfig{PythonVersion: "3.99"}, seer.WithBackend(server.Backend())).Start(t.Context())
	require.ErrorAs(t, err, &bad)
	assert.ErrorContains(t, err, "3.")
}

func TestBackendChoice(t *testing.T) {
	t.Setenv("SEER_BACKEND", "cloud")
	_, err := seer.NewSandbox(seer.SandboxConfig{}).Start(t.Context())
	var bad *seer.ConfigError
	require.ErrorAs(t, err, &bad)
	assert.ErrorContains(t, err, "SEER_BACKEND")
	assert.ErrorContains(t, err, "cloud")
}

// fullConfig uses every step of Start that needs no network.
func fullConfig(t *testing.T) seer.SandboxConfig {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o640))
	return seer.SandboxConfig{
		SetupCommands:  []string{"mkdir -p /opt/ready"},
		Env:            map[string]string{"A": "b"},
		LocalFiles:     []seer.Mount{{Source: filepath.Join(dir, "file"), Target: "/workspace/file"}},
		LocalDirs:      []seer.Mount{{Source: dir, Target: "/workspace/dir"}},
		EncryptedPorts: []int{9000},
		Tags:           map[string]string{"team": "red"},
	}
}

func TestAnyFailingRPCOfStartIsCleanedUp(t *testing.T) {
	probe := seertest.NewServer(t)
	startOn(t, probe, fullConfig(t))
	var rpcs []string
	for _, call := range probe.Calls() {
		if !slices.Contains(rpcs, call.RPC) {
			rpcs = append(rpcs, call.RPC)
		}
	}
	require.Contains(t, rpcs, "SandboxCreate")
	require.Contains(t, rpcs, "SandboxTagsSet")
	for _, rpc := range rpcs {
		t.Run(rpc, func(t *testing.T) {
			server := seertest.NewServer(t)
			server.Fail(rpc, errors.New("injected"), 1)
			sandbox, err := seer.NewSandbox(fullConfig(t), seer.WithBackend(server.Backend())).Start(within(t, patience))
			if err == nil { // one failure of some calls is survived
				terminate(t, sandbox)
				return
			}
			assert.Empty(t, server.Sandboxes())
			assert.ErrorContains(t, err, "injected")
			var failed *seer.StartError
			if rpc != "AuthTokenGet" {
				require.ErrorAs(t, err, &failed)
				assert.NotEmpty(t, failed.Step)
			}
		})
	}
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, rpc := range []string{"AppGetOrCreate", "ImageGetOrCreate", "SecretGetOrCreate", "SandboxCreate", "SandboxGetTaskId", "TaskExecStart"} {
		t.Run(rpc, func(t *testing.T) {
			server := seertest.NewServer(t)
			server.Delay(rpc, 300*time.Millisecond)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				for ctx.Err() == nil {
					for _, call := range server.Calls() {
						if call.RPC == rpc {
							cancel()
						}
					}
					time.Sleep(time.Millisecond)
				}
			}()
			_, err := seer.NewSandbox(fullConfig(t), seer.WithBackend(server.Backend())).Start(ctx)
			require.ErrorIs(t, err, context.Canceled)
			assert.Empty(t, server.Sandboxes())
		})
	}
}

func TestBuildErrorShowsTheInstallersWords(t *testing.T) {
	server := seertest.NewServer(t)
	var mu sync.Mutex
	var lines []string
	_, err := seer.NewSandbox(seer.SandboxConfig{SetupCommands: []string{"echo preparing; echo 'E: no such package' >&2; exit 7"}},
		seer.WithBackend(server.Backend()),
		seer.WithProgress(func(e seer.Event) {
			mu.Lock()
			defer mu.Unlock()
			if e.Kind == seer.EventOutput {
				lines = append(lines, e.Text)
			}
		})).Start(t.Context())
	var build *seer.BuildError
	require.ErrorAs(t, err, &build)
	assert.Equal(t, "setup command 1", build.Layer)
	assert.Contains(t, build.Log, "E: no such package")
	assert.ErrorContains(t, err, "E: no such package")
	mu.Lock()
	defer mu.Unlock()
	assert.Contains(t, lines, "preparing")
}

func TestLayersAreCached(t *testing.T) {
	server := seertest.NewServer(t)
	config := seer.SandboxConfig{SetupCommands: []string{"date +%N >/built", "cp /built /copied"}}
	read := func() string {
		sandbox := startOn(t, server, config)
		out, err := sandbox.Exec(t.Context(), "cat /built /copied")
		require.NoError(t, err)
		return out
	}
	assert.Equal(t, read(), read())
}

// TestSecretsLeakNowhere looks for a secret's value in everything that a
// sandbox's start, life and failures write.
func TestSecretsLeakNowhere(t *testing.T) {
	const value = "s3cr3t-value-x9"
	envFile := filepath.Join(t.TempDir(), "secrets.env")
	require.NoError(t, os.WriteFile(envFile, []byte("SEER_TEST_FILE_SECRET="+value+"-file\n"), 0o600))
	t.Setenv("SEER_TEST_ENV_SECRET", value+"-env")

	server := seertest.NewServer(t)
	var written bytes.Buffer
	var mu sync.Mutex
	logger := slog.New(slog.NewTextHandler(&lockedBuffer{mu: &mu, b: &written}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config := fullConfig(t)
	config.Secrets = []string{"SEER_TEST_ENV_SECRET", "SEER_TEST_FILE_SECRET"}
	opts := []seer.Option{
		seer.WithEnvFile(envFile), seer.WithLogger(logger),
		seer.WithProgress(func(e seer.Event) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(&written, e)
		}),
	}
	sandbox := startOn(t, server, config, opts...)
	out, err := sandbox.Exec(t.Context(), `echo "$SEER_TEST_ENV_SECRET $SEER_TEST_FILE_SECRET"`)
	require.NoError(t, err)
	assert.Equal(t, value+"-env "+value+"-file\n", out)
	_, set := os.LookupEnv("SEER_TEST_FILE_SECRET")
	assert.False(t, set, "the file is not exported into the process")

	out, err = sandbox.Exec(t.Context(), `cat /proc/[0-9]*/cmdline | tr '\0' '\n'; grep -rsaF -- "$SEER_TEST_ENV_SECRET" /run /tmp /root /etc /var /workspace /home || true`)
	require.NoError(t, err)
	assert.NotContains(t, out, value)

	snapshot, err := sandbox.Snapshot(t.Context(), "with secrets")
	require.NoError(t, err)
	fmt.Fprintf(&written, "%+v", snapshot)

	config.SetupCommands = []string{"exit 1"}
	_, err = seer.NewSandbox(config, append(opts, seer.WithBackend(server.Backend()))...).Start(t.Context())
	require.Error(t, err)
	fmt.Fprintln(&written, err)
	for _, call := range server.Calls() {
		fmt.Fprintln(&written, call)
	}
	mu.Lock()
	defer mu.Unlock()
	assert.NotContains(t, written.String(), value)
}

type lockedBuffer struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestProgressTellsEveryStep(t *testing.T) {
	var out strings.Builder
	print := seer.PrintProgress(&out)
	events := map[seer.EventKind][]string{}
	startSandbox(t, fullConfig(t), seer.WithProgress(func(e seer.Event) {
		events[e.Kind] = append(events[e.Kind], e.Step)
		print(e)
	}))
	assert.ElementsMatch(t, events[seer.EventStarted], events[seer.EventDone])
	assert.Empty(t, events[seer.EventFailed])
	for _, step := range []string{"build image", "create sandbox", "copy files"} {
		assert.Contains(t, events[seer.EventDone], step)
		assert.Contains(t, out.String(), step)
	}
}
