//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"time"

	"github.com/modal-labs/libmodal/modal-go"

	seer "github.com/ajobi-uhc/seer-go"
)

const (
	smallFiles = 2000
	smallSize  = 1 << 10
	largeSize  = 100 << 20
	sample     = 200 // of the small files, for ways that take too long
)

// uploads is S4: trees and large files against tar and cat over a raw exec,
// and against a call or more for every file.
func uploads(ctx context.Context, b *bench) error {
	w, sandbox, err := b.realSandbox(ctx, seer.SandboxConfig{})
	if err != nil {
		return err
	}
	raw, err := w.raw(ctx, b, sandbox)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "seer-benchmarks-")
	if err != nil {
		return err
	}
	b.later(func() error { return os.RemoveAll(dir) })
	files, err := makeTree(dir, smallFiles)
	if err != nil {
		return err
	}
	if err := treeUploads(ctx, b, sandbox, raw, dir, files); err != nil {
		return err
	}

	large := make([]byte, largeSize)
	if _, err := rand.Read(large); err != nil {
		return err
	}
	rawCat := func(chunk int) func(context.Context, string) error {
		return func(ctx context.Context, target string) error {
			return rawExec(ctx, raw, &input{bytes.NewReader(large), chunk}, "sh", "-c", `cat > "$1"`, "sh", path.Join(target, "large"))
		}
	}
	return b.versus(ctx, max(b.runs/3, 3), "WriteFile of 100 MiB", "0.9",
		fresh(sandbox, "WriteFile", func(ctx context.Context, target string) error {
			return sandbox.WriteFile(ctx, path.Join(target, "large"), large)
		}),
		fresh(sandbox, "cat over modal-go, io.Copy", rawCat(plainChunk)),
		fresh(sandbox, "cat over modal-go, 1 MiB messages", rawCat(tunedChunk)))
}

func treeUploads(ctx context.Context, b *bench, sandbox *seer.Sandbox, raw *modal.Sandbox, dir string, files []string) error {
	rounds := max(b.runs/6, 3)
	err := b.versus(ctx, rounds, fmt.Sprintf("Upload of %d files of 1 KiB", smallFiles), "0.9",
		fresh(sandbox, "Upload", func(ctx context.Context, target string) error { return sandbox.Upload(ctx, dir, target) }),
		fresh(sandbox, "tar over modal-go, io.Copy", func(ctx context.Context, target string) error { return rawTar(ctx, raw, plainChunk, dir, target) }),
		fresh(sandbox, "tar over modal-go, 1 MiB messages", func(ctx context.Context, target string) error { return rawTar(ctx, raw, tunedChunk, dir, target) }))
	if err != nil {
		return err
	}
	data := make([]byte, smallSize)
	each := func(write func(ctx context.Context, name string) error) func(context.Context, string) error {
		return func(ctx context.Context, target string) error {
			for _, name := range files[:sample] {
				if err := write(ctx, path.Join(target, path.Base(name))); err != nil {
					return err
				}
			}
			return nil
		}
	}
	few, err := os.MkdirTemp("", "seer-benchmarks-")
	if err != nil {
		return err
	}
	b.later(func() error { return os.RemoveAll(few) })
	if _, err := makeTree(few, sample); err != nil {
		return err
	}
	return b.versus(ctx, 3, fmt.Sprintf("Upload of %d files of 1 KiB", sample), "0.02",
		fresh(sandbox, "Upload", func(ctx context.Context, target string) error { return sandbox.Upload(ctx, few, target) }),
		fresh(sandbox, "WriteFile for each", each(func(ctx context.Context, name string) error { return sandbox.WriteFile(ctx, name, data) })),
		fresh(sandbox, "modal-go's Open, Write, Close for each", each(func(ctx context.Context, name string) error { return rawFile(ctx, raw, name, data) })))
}

// makeTree fills a directory with files, a hundred to a directory of their own.
func makeTree(dir string, n int) ([]string, error) {
	data := make([]byte, smallSize)
	var names []string
	for i := range n {
		name := filepath.Join(dir, fmt.Sprintf("d%03d", i/100), fmt.Sprintf("f%05d", i))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// fresh is a side that fills an empty directory of the sandbox, which it
// makes and clears away on its own time.
func fresh(sandbox *seer.Sandbox, name string, fill func(ctx context.Context, target string) error) side {
	return side{name: name, run: func(ctx context.Context) (time.Duration, error) {
		const target = "/tmp/upload"
		if err := sandbox.EnsureDir(ctx, target); err != nil {
			return 0, err
		}
		start := time.Now()
		err := fill(ctx, target)
		took := time.Since(start)
		return took, errors.Join(err, sandbox.Command("rm", "-rf", target).Run(ctx))
	}}
}

// rawTar pipes the tar of this machine into the sandbox's.
func rawTar(ctx context.Context, sandbox *modal.Sandbox, chunk int, dir, target string) error {
	pack := exec.CommandContext(ctx, "tar", "-c", "-f", "-", "-C", dir, ".")
	archive, err := pack.StdoutPipe()
	if err != nil {
		return err
	}
	if err := pack.Start(); err != nil {
		return err
	}
	err = rawExec(ctx, sandbox, &input{archive, chunk}, "tar", "-x", "-f", "-", "-C", target)
	if err != nil {
		_, _ = io.Copy(io.Discard, archive) // so that tar ends, too
	}
	return errors.Join(err, pack.Wait())
}

func rawFile(ctx context.Context, sandbox *modal.Sandbox, name string, data []byte) error {
	file, err := sandbox.Open(ctx, name, "w")
	if err != nil {
		return err
	}
	if _, err := file.Write(data); err != nil {
		return errors.Join(err, file.Close())
	}
	return errors.Join(file.Flush(), file.Close())
}
