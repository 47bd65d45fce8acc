package hubtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Python returns a Python interpreter that has the given pip requirements and
// nothing else. The first call on a machine installs them into a directory
// that later calls, of other test programs too, find again.
func Python(tb testing.TB, requirements ...string) string {
	tb.Helper()
	key := sha256.Sum256([]byte(strings.Join(requirements, "\n")))
	dir := filepath.Join(cacheDir(tb), "python-"+hex.EncodeToString(key[:6]))
	python := filepath.Join(dir, "bin", "python")
	if _, err := os.Stat(python); err == nil {
		return python
	}
	// Built aside and renamed, so that of several test programs at once each
	// finds either nothing or all of it. Only bin/python survives the move.
	building, err := os.MkdirTemp(filepath.Dir(dir), "building-") //nolint:usetesting // renaming works within one file system only
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(building) }()
	run(tb, basePython(tb), "-m", "venv", building)
	run(tb, filepath.Join(building, "bin", "python"), append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, requirements...)...)
	if err := os.Rename(building, dir); err != nil {
		if _, missing := os.Stat(python); missing != nil {
			tb.Fatal(err)
		}
	}
	return python
}

func cacheDir(tb testing.TB) string {
	tb.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	for _, dir := range []string{filepath.Join(base, "seer-go-tests"), filepath.Join(os.TempDir(), fmt.Sprintf("seer-go-tests-%d", os.Getuid()))} {
		if err = os.MkdirAll(dir, 0o700); err == nil {
			return dir
		}
	}
	tb.Fatal(err)
	return ""
}

// basePython finds a Python that current packages still support.
func basePython(tb testing.TB) string {
	tb.Helper()
	const check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))"
	for _, name := range []string{"python3", "python3.13", "python3.12", "python3.11", "python3.10"} {
		if path, err := exec.LookPath(name); err == nil && exec.CommandContext(tb.Context(), path, "-c", check).Run() == nil {
			return path
		}
	}
	tb.Fatal("find Python: none on PATH is 3.10 or later and can make virtual environments")
	return ""
}

func run(tb testing.TB, name string, args ...string) {
	tb.Helper()
	if out, err := exec.CommandContext(tb.Context(), name, args...).CombinedOutput(); err != nil {
		tb.Fatalf("run %s %s: %v\n%s", name, args, err, out)
	}
}
