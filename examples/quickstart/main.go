// Quickstart declares an environment, starts it on this machine, works in it,
// saves it, restores it and ends it.
//
//	go run ./examples/quickstart
//
// It needs no account. With SEER_BACKEND=modal it runs on Modal instead.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	repo, backend, closeBackend, err := where()
	if err != nil {
		return err
	}
	defer closeBackend()

	dir := projectDir()
	config := seer.SandboxConfig{
		PythonPackages: []string{"einops"},
		SystemPackages: []string{"jq"},
		Secrets:        []string{"QUICKSTART_KEY"},
		LocalFiles:     []seer.Mount{{Source: dir + "/settings.json", Target: "/sandbox/settings.json"}},
		LocalDirs:      []seer.Mount{{Source: dir + "/data", Target: "/workspace/data"}},
		Repos:          []seer.RepoConfig{repo},
		Timeout:        20 * time.Minute,
	}
	opts := []seer.Option{
		seer.WithBackend(backend),
		seer.WithEnvFile(dir + "/.env"),
		seer.WithProgress(seer.PrintProgress(os.Stderr)),
	}

	say("starting a sandbox")
	began := time.Now()
	sandbox, err := seer.NewSandbox(config, opts...).Start(ctx)
	if err != nil {
		return err
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx)) //nolint:errcheck // Terminate below reports; this is for early returns
	say("%s runs on %s, ready after %s", sandbox.SandboxID(), sandbox.Backend(), time.Since(began).Round(time.Millisecond))

	if err := work(ctx, sandbox); err != nil {
		return err
	}

	say("snapshot, then a second sandbox on it")
	snapshot, err := sandbox.Snapshot(ctx, "after setup")
	if err != nil {
		return err
	}
	restored, err := seer.FromSnapshot(ctx, snapshot, config, opts...)
	if err != nil {
		return err
	}
	defer restored.Terminate(context.WithoutCancel(ctx)) //nolint:errcheck // as above
	notes, err := restored.ReadFile(ctx, "/workspace/outputs/notes.txt")
	if err != nil {
		return err
	}
	say("the restored sandbox has notes.txt: %q", notes)

	say("terminating both")
	if err := restored.Terminate(ctx); err != nil {
		return err
	}
	return sandbox.Terminate(ctx)
}

// work is what an agent would do.
func work(ctx context.Context, sandbox *seer.Sandbox) error {
	out, err := sandbox.Exec(ctx, `jq -r .greeting /sandbox/settings.json; ls /workspace; echo "the key has ${#QUICKSTART_KEY} characters"`)
	if err != nil {
		return err
	}
	say("Exec:\n%s", indent(out))

	out, err = sandbox.ExecPython(ctx, "import einops, platform\nprint('Python', platform.python_version(), 'with einops', einops.__version__)")
	if err != nil {
		return err
	}
	say("ExecPython:\n%s", indent(out))

	if err := sandbox.WriteFile(ctx, "/workspace/outputs/notes.txt", []byte("written from Go\n")); err != nil {
		return err
	}
	data, err := sandbox.ReadFile(ctx, "/workspace/data/numbers.csv")
	if err != nil {
		return err
	}
	say("ReadFile: numbers.csv has %d lines", strings.Count(string(data), "\n"))

	say("a streamed Command:")
	cmd := sandbox.Command("python", "-u", "-c", "import sys\nfor line in sys.stdin: print('  got', line.strip())")
	cmd.Stdin = strings.NewReader("one\ntwo\nthree\n")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run(ctx)
}

// where chooses Modal when the environment says so, else this machine, and
// with it a repository that can be reached from there.
func where() (seer.RepoConfig, seer.Backend, func(), error) {
	if os.Getenv("SEER_BACKEND") == "modal" {
		return seer.RepoConfig{URL: "karpathy/micrograd"}, seer.Modal(), func() {}, nil
	}
	served, err := serveRepo()
	if err != nil {
		return seer.RepoConfig{}, seer.Backend{}, nil, err
	}
	backend := local.New(local.AllowHost(served.address))
	return seer.RepoConfig{URL: served.url, Install: "python hello.py"}, backend, func() {
		_ = backend.Close()
		served.close()
	}, nil
}

func say(format string, args ...any) { fmt.Printf("> "+format+"\n", args...) }

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ")
}
