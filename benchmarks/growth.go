//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
)

// growth is S10: what takes time for each piece takes no longer for a piece of many.
func growth(ctx context.Context, b *bench) error {
	_, sandbox, err := b.realSandbox(ctx, seer.SandboxConfig{})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "seer-benchmarks-")
	if err != nil {
		return err
	}
	b.later(func() error { return os.RemoveAll(dir) })
	for _, g := range []struct {
		what string
		few  int
		many int
		do   func(ctx context.Context, n int) (time.Duration, error)
	}{
		{"arguments of 16 bytes", 1_000, 40_000, func(ctx context.Context, n int) (time.Duration, error) {
			return stopwatch(func() error { return sandbox.Command("true", arguments(n)...).Run(ctx) })
		}},
		{"MB of output", 10, 1_000, func(ctx context.Context, n int) (time.Duration, error) {
			return stopwatch(func() error {
				cmd := sandbox.Command("head", "-c", fmt.Sprint(n*1_000_000), "/dev/zero")
				cmd.Stdout = discard{}
				return cmd.Run(ctx)
			})
		}},
		{"small files up", 1_000, 100_000, func(ctx context.Context, n int) (time.Duration, error) {
			tree, err := treeOf(dir, n)
			if err != nil {
				return 0, err
			}
			took, err := stopwatch(func() error { return sandbox.Upload(ctx, tree, "/tmp/growth") })
			return took, errors.Join(err, sandbox.Command("rm", "-rf", "/tmp/growth").Run(ctx))
		}},
		{"small files down", 1_000, 100_000, func(ctx context.Context, n int) (time.Duration, error) {
			const make = `import os, sys
for i in range(int(sys.argv[1])):
    if i % 100 == 0:
        os.makedirs(f"/tmp/growth/{i // 100}")
    open(f"/tmp/growth/{i // 100}/{i}", "w").write("content")`
			if err := sandbox.Command("python", "-c", make, fmt.Sprint(n)).Run(ctx); err != nil {
				return 0, err
			}
			back := filepath.Join(dir, "back")
			took, err := stopwatch(func() error { return sandbox.Download(ctx, "/tmp/growth", back) })
			return took, errors.Join(err, os.RemoveAll(back), sandbox.Command("rm", "-rf", "/tmp/growth").Run(ctx))
		}},
	} {
		medians, err := race(ctx, 3,
			side{fmt.Sprint(g.few), func(ctx context.Context) (time.Duration, error) { return g.do(ctx, g.few) }},
			side{fmt.Sprint(g.many), func(ctx context.Context) (time.Duration, error) { return g.do(ctx, g.many) }})
		if err != nil {
			return fmt.Errorf("%s: %w", g.what, err)
		}
		times := g.many / g.few
		linear := time.Duration(times) * medians[0]
		b.row(fmt.Sprintf("%d %s", g.many, g.what), show(medians[1]), fmt.Sprintf("%d times %d", times, g.few), show(linear), ratio(medians[1], linear), "1")
	}
	return b.versus(ctx, 10, "a command with 40,000 arguments of 16 bytes", "3 and a millisecond",
		timed("Command", func(ctx context.Context) error { return sandbox.Command("true", arguments(40_000)...).Run(ctx) }),
		timed("os/exec", func(ctx context.Context) error { return exec.CommandContext(ctx, "true", arguments(40_000)...).Run() }))
}

func arguments(n int) []string {
	args := make([]string, n)
	for i := range args {
		args[i] = strings.Repeat("x", 16)
	}
	return args
}

// treeOf makes a tree of n small files once.
func treeOf(dir string, n int) (string, error) {
	tree := filepath.Join(dir, fmt.Sprint("tree-", n))
	if _, err := os.Stat(tree); err == nil {
		return tree, nil
	}
	_, err := makeTree(tree, n)
	return tree, err
}

func stopwatch(f func() error) (time.Duration, error) {
	start := time.Now()
	err := f()
	return time.Since(start), err
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
