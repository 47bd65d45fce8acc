//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
	"github.com/ajobi-uhc/seer-go/local"
)

// localBackend is S8: the local backend against what isolates less, or nothing.
func localBackend(ctx context.Context, b *bench) error {
	dir, err := local.StateDir()
	if err != nil {
		return err
	}
	rt, err := linux.New(linux.Config{Dir: dir})
	if err != nil {
		return err
	}
	b.later(rt.Close)
	host, err := rt.HostImage(ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		readiness(ctx, b, rt, host),
		execution(ctx, b, rt, host),
		snapshots(ctx, b, rt, host, dir),
		forwarding(ctx, b),
	)
}

func startBare(ctx context.Context, rt *linux.Runtime, image runtime.Image) (runtime.Sandbox, error) {
	return rt.Start(ctx, runtime.Spec{
		ID:      fmt.Sprintf("benchmark-%d-%d", os.Getpid(), time.Now().UnixNano()),
		Image:   image.ID,
		Command: []string{"sleep", "infinity"},
	})
}

// execBare runs a program that prints nothing to speak of.
func execBare(ctx context.Context, sandbox runtime.Sandbox, args ...string) error {
	process, err := sandbox.Exec(ctx, runtime.ExecSpec{Args: args})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, process.Stdout())
	<-process.Done()
	if process.Status() != (runtime.ExitStatus{}) {
		err = errors.Join(err, fmt.Errorf("%v: %s", args, process.Status()))
	}
	return errors.Join(err, process.Stdin().Close(), process.Stdout().Close(), process.Stderr().Close())
}

// readiness is the time from nothing to the end of a first command.
func readiness(ctx context.Context, b *bench, rt *linux.Runtime, host runtime.Image) error {
	w, err := realWorld()
	if err != nil {
		return err
	}
	b.later(w.close)
	bare := side{name: "sandbox", run: func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		sandbox, err := startBare(ctx, rt, host)
		if err != nil {
			return 0, err
		}
		err = execBare(ctx, sandbox, "/bin/true")
		return time.Since(start), errors.Join(err, sandbox.Terminate(ctx))
	}}
	whole := side{name: "Start", run: func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		sandbox, err := w.start(ctx, seer.SandboxConfig{})
		if err != nil {
			return 0, err
		}
		_, err = sandbox.Exec(ctx, "true")
		return time.Since(start), errors.Join(err, sandbox.Terminate(ctx))
	}}
	rivals := []side{command("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--net", "--uts", "--ipc", "/bin/true")}
	if _, err := exec.LookPath("bwrap"); err == nil {
		rivals = append(rivals, command("bwrap", "--unshare-all", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "/bin/true"))
	} else {
		b.row("ready", "", "bwrap", "not installed", "", "")
	}
	if err := b.versus(ctx, b.runs, "runtime: ready and first `true`", "below 15 ms", bare, rivals...); err != nil {
		return err
	}
	return b.versus(ctx, b.runs, "Start and first Exec, zero config", "", whole, rivals...)
}

func command(name string, args ...string) side {
	return timed(name, func(ctx context.Context) error { return exec.CommandContext(ctx, name, args...).Run() })
}

func execution(ctx context.Context, b *bench, rt *linux.Runtime, host runtime.Image) error {
	sandbox, err := startBare(ctx, rt, host)
	if err != nil {
		return err
	}
	err = b.versus(ctx, 10*b.runs, "runtime: exec of `true`", "below 2.5 ms",
		timed("sandbox", func(ctx context.Context) error { return execBare(ctx, sandbox, "/bin/true") }),
		command("/bin/true"))
	return errors.Join(err, sandbox.Terminate(ctx))
}

// snapshots compares a snapshot with a copy of the same files on the same disk.
func snapshots(ctx context.Context, b *bench, rt *linux.Runtime, host runtime.Image, dir string) (err error) {
	sandbox, err := startBare(ctx, rt, host)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sandbox.Terminate(ctx)) }()
	const fill = `mkdir -p "$1" && cd "$1" && head -c 1024 /dev/zero | tee $(seq 2000) >/dev/null && head -c 104857600 /dev/urandom >large`
	if err := execBare(ctx, sandbox, "/bin/sh", "-c", fill, "sh", "/root/tree"); err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(dir, "benchmark-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	tree, copied := filepath.Join(scratch, "tree"), filepath.Join(scratch, "copy")
	if err := exec.CommandContext(ctx, "/bin/sh", "-c", fill, "sh", tree).Run(); err != nil {
		return err
	}
	return b.versus(ctx, max(b.runs/6, 3), "snapshot of 2,000 files and one of 100 MiB", "1",
		side{name: "Snapshot", run: func(ctx context.Context) (time.Duration, error) {
			start := time.Now()
			image, err := sandbox.Snapshot(ctx)
			took := time.Since(start)
			if err != nil {
				return 0, err
			}
			return took, rt.RemoveImage(ctx, image.ID)
		}},
		side{name: "cp -a", run: func(ctx context.Context) (time.Duration, error) {
			start := time.Now()
			err := exec.CommandContext(ctx, "cp", "-a", tree, copied).Run()
			return time.Since(start), errors.Join(err, os.RemoveAll(copied))
		}})
}
