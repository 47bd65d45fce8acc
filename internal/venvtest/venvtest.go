// Package venvtest makes Python environments for tests and benchmarks.
package venvtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// installer takes a tenth of pip's time.
const installer = "uv==0.13.9"

// Python returns an interpreter that has the requirements, written as for pip,
// and nothing else. Where it cannot be had the test is skipped, or fails if
// the variable CI is set.
func Python(tb testing.TB, requirements ...string) string {
	tb.Helper()
	python, err := Make(tb.Context(), requirements...)
	if err == nil {
		return python
	}
	if os.Getenv("CI") != "" {
		tb.Fatal(err)
	}
	tb.Skip(err)
	return ""
}

// Make returns an interpreter that has the requirements, written as for pip,
// and nothing else. A user's first call installs them; what calls at the same
// time waits for it.
func Make(ctx context.Context, requirements ...string) (string, error) {
	return once(ctx, requirements, withInstaller)
}

// install makes an environment in dir with the interpreter base.
type install func(ctx context.Context, base, dir string, requirements []string) error

func once(ctx context.Context, requirements []string, install install) (string, error) {
	base, err := basePython()
	if err != nil {
		return "", err
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	key := sha256.Sum256([]byte(base + "\n" + strings.Join(requirements, "\n")))
	dir := filepath.Join(cache, "python-"+hex.EncodeToString(key[:6]))
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	complete := filepath.Join(dir, "complete")
	if _, err := os.Stat(complete); !errors.Is(err, fs.ErrNotExist) {
		return interpreter(dir), err
	}
	if err := install(ctx, base, dir, requirements); err != nil {
		return "", fmt.Errorf("make a Python environment with %s: %w", strings.Join(requirements, ", "), err)
	}
	return interpreter(dir), os.WriteFile(complete, nil, 0o644)
}

// withInstaller falls back to pip, which alone reads what pip.conf says of a
// machine's package index.
func withInstaller(ctx context.Context, base, dir string, requirements []string) error {
	uv, err := once(ctx, []string{installer}, withPip)
	if err == nil {
		err = run(ctx, base, "-m", "venv", "--clear", "--without-pip", dir)
	}
	if err == nil {
		err = run(ctx, uv, append([]string{"-m", "uv", "pip", "install", "--quiet", "--python", interpreter(dir)}, requirements...)...)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	return withPip(ctx, base, dir, requirements)
}

func withPip(ctx context.Context, base, dir string, requirements []string) error {
	if err := run(ctx, base, "-m", "venv", "--clear", dir); err != nil {
		return err
	}
	return run(ctx, interpreter(dir), append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, requirements...)...)
}

func interpreter(dir string) string {
	if runtime.GOOS == "windows" {
		return filepath.Join(dir, "Scripts", "python.exe")
	}
	return filepath.Join(dir, "bin", "python")
}

// basePython finds a Python that current packages still support.
var basePython = sync.OnceValues(func() (string, error) {
	const check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))"
	for _, name := range []string{"python3", "python3.13", "python3.12", "python3.11", "python3.10"} {
		if path, err := exec.LookPath(name); err == nil && exec.Command(path, "-c", check).Run() == nil {
			return path, nil
		}
	}
	return "", errors.New("find Python: none on PATH is 3.10 or later and can make virtual environments")
})

// cacheDir is a directory that outlives the tests. A user without a home has one, too.
func cacheDir() (dir string, err error) {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	for _, dir := range []string{filepath.Join(base, "seer-go-tests"), filepath.Join(os.TempDir(), fmt.Sprintf("seer-go-tests-%d", os.Getuid()))} {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			return dir, nil
		}
	}
	return "", err
}

func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}
