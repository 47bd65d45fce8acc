//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	seer "github.com/ajobi-uhc/seer-go"
)

// countCalls is S9: RPCs, which cost 40 ms each on Modal. The Python library's
// were counted once, on a server of its own; see docs/performance.md.
func countCalls(ctx context.Context, b *bench) error {
	w, err := scriptedWorld()
	if err != nil {
		return err
	}
	b.later(w.close)
	dir, err := os.MkdirTemp("", "seer-benchmarks-")
	if err != nil {
		return err
	}
	b.later(func() error { return os.RemoveAll(dir) })
	names, err := makeTree(dir, 200)
	if err != nil {
		return err
	}
	full := seer.SandboxConfig{
		PythonPackages: []string{"einops", "numpy", "httpx"},
		SystemPackages: []string{"jq", "ripgrep"},
		Env:            map[string]string{"GREETING": "hi"},
		LocalDirs:      []seer.Mount{{Source: filepath.Dir(names[0]), Target: "/workspace/data"}},
		Repos:          []seer.RepoConfig{{URL: "org/one"}, {URL: "org/two"}},
	}
	for i := range 10 {
		full.LocalFiles = append(full.LocalFiles, seer.Mount{Source: names[i], Target: fmt.Sprintf("/workspace/f%d", i)})
	}
	if err := countStart(ctx, b, w, "RPCs of Start, zero config", seer.SandboxConfig{}); err != nil {
		return err
	}
	if err := countStart(ctx, b, w, "RPCs of Start, packages, 2 repos, 10 files, a directory", full); err != nil {
		return err
	}

	sandbox, err := w.start(ctx, seer.SandboxConfig{})
	if err != nil {
		return err
	}
	b.later(func() error { return sandbox.Terminate(context.WithoutCancel(ctx)) })
	if _, err := sandbox.Exec(ctx, "true"); err != nil { // learns where commands go
		return err
	}
	for _, op := range []struct {
		name   string
		python int
		run    func() error
	}{
		{"RPCs of Exec", 3, func() error { _, err := sandbox.Exec(ctx, "echo hi"); return err }},
		{"RPCs of WriteFile, three folders deep", 12, func() error { return sandbox.WriteFile(ctx, "/a/b/c/d", []byte("data")) }},
		{"RPCs of 200 files", 1600, func() error { return sandbox.Upload(ctx, dir, "/data") }},
	} {
		n, err := w.count(op.run)
		if err != nil {
			return fmt.Errorf("%s: %w", op.name, err)
		}
		b.row(op.name, fmt.Sprint(n), "Python", fmt.Sprint(op.python), ratio(n, op.python), "")
	}
	return nil
}

// countStart counts what a Start costs, the questions whether the sandbox runs
// yet included: a server without delays answers the first.
func countStart(ctx context.Context, b *bench, w *world, what string, config seer.SandboxConfig) error {
	var sandbox *seer.Sandbox
	n, err := w.count(func() (err error) {
		sandbox, err = w.start(ctx, config)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	b.row(what, fmt.Sprint(n), "", "", "", "")
	return sandbox.Terminate(context.WithoutCancel(ctx))
}
