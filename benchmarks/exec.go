//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
)

const modalDelay = 40 * time.Millisecond // of a call to Modal, roughly

// execOverhead is S3: Exec against what it is made of.
func execOverhead(ctx context.Context, b *bench) error {
	w, sandbox, err := b.realSandbox(ctx, seer.SandboxConfig{})
	if err != nil {
		return err
	}
	raw, err := w.raw(ctx, b, sandbox)
	if err != nil {
		return err
	}
	const python = "print('hi')"
	shellSide := timed("Exec", func(ctx context.Context) error { _, err := sandbox.Exec(ctx, "echo hi"); return err })
	rawShell := timed("modal-go", func(ctx context.Context) error { return rawExec(ctx, raw, nil, "bash", "-c", "echo hi") })
	rawLaunch := timed("modal-go, with stdin from /dev/null", func(ctx context.Context) error {
		return rawExec(ctx, raw, nil, "sh", "-c", `exec "$@" </dev/null`, "sh", "bash", "-c", "echo hi")
	})
	pythonSide := timed("ExecPython", func(ctx context.Context) error { _, err := sandbox.ExecPython(ctx, python); return err })
	rawPython := timed("modal-go", func(ctx context.Context) error { return rawExec(ctx, raw, nil, "python", "-c", python) })

	for _, s := range []side{shellSide, rawShell} { // the first ones fetch the router's address
		if _, err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	var counts []int
	for _, s := range []side{shellSide, rawShell} {
		n, err := w.count(func() error { _, err := s.run(ctx); return err })
		if err != nil {
			return err
		}
		counts = append(counts, n)
	}
	b.row("RPCs of Exec", fmt.Sprint(counts[0]), "modal-go", fmt.Sprint(counts[1]), ratio(counts[0], counts[1]), "1")
	if err := b.versus(ctx, 10*b.runs, "Exec of `echo hi`", "1.05", shellSide, rawShell, rawLaunch); err != nil {
		return err
	}
	if err := b.versus(ctx, 2*b.runs, "ExecPython of `print('hi')`", "1.05", pythonSide, rawPython); err != nil {
		return err
	}
	w.slow(modalDelay)
	err = b.versus(ctx, max(b.runs/2, 3), "Exec, 40 ms per RPC", "1.05", shellSide, rawShell)
	w.slow(0)
	if err != nil {
		return err
	}
	return protocolOverhead(ctx, b)
}

// protocolOverhead is Exec where commands are played: without the process,
// what is left is the client's work and the server's.
func protocolOverhead(ctx context.Context, b *bench) error {
	w, err := scriptedWorld()
	if err != nil {
		return err
	}
	b.later(w.close)
	sandbox, err := w.start(ctx, seer.SandboxConfig{})
	if err != nil {
		return err
	}
	b.later(func() error { return sandbox.Terminate(context.WithoutCancel(ctx)) })
	raw, err := w.raw(ctx, b, sandbox)
	if err != nil {
		return err
	}
	return b.versus(ctx, 50*b.runs, "Exec without a process", "1.05",
		timed("Exec", func(ctx context.Context) error { _, err := sandbox.Exec(ctx, "echo hi"); return err }),
		timed("modal-go", func(ctx context.Context) error { return rawExec(ctx, raw, nil, "bash", "-c", "echo hi") }))
}
