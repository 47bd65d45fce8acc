package modalclient_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

// TestHelpersThatFlood lets the programs that helpers run say far too much, on
// either stream: an agent who is root replaces them.
func TestHelpersThatFlood(t *testing.T) {
	t.Parallel()
	flood := t.TempDir()
	for _, program := range []string{"cat", "mkdir", "stat", "tar"} {
		require.NoError(t, os.WriteFile(filepath.Join(flood, program), []byte("#!/bin/sh\nexec /usr/bin/yes\n"), 0o755))
	}
	s := newWorld(t, scripted.New(func(ctx context.Context, e scripted.Exec) scripted.Result {
		for i, arg := range e.Args {
			e.Args[i] = strings.ReplaceAll(arg, "seer_tools=", "seer_tools="+flood+":")
		}
		return runHere(ctx, flood, e)
	})).sandbox(t)
	for name, call := range map[string]func() error{
		"read":   func() error { _, err := s.ReadAtMost(t.Context(), "/etc/hostname", 8<<20); return err },
		"mkdir":  func() error { return s.EnsureDir(t.Context(), "x/y") },
		"upload": func() error { return s.Upload(t.Context(), strings.NewReader(""), "x") },
		"splice": func() error {
			_, err := s.Splice(t.Context(), "/tmp/x", 0, 0, 1, "", strings.NewReader("x"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, call(), modalclient.ErrOutputLimit) })
	}
}

func TestEndlessFiles(t *testing.T) {
	t.Parallel()
	s := newWorld(t, host(t)).sandbox(t)
	endless := filepath.Join(t.TempDir(), "endless")
	require.NoError(t, os.WriteFile(endless, nil, 0o600))
	require.NoError(t, os.Truncate(endless, 1<<40))
	_, err := s.ReadAtMost(t.Context(), endless, 1<<20)
	require.ErrorIs(t, err, modalclient.ErrOutputLimit)
	require.ErrorContains(t, err, endless)
	_, err = s.ReadAtMost(t.Context(), "/dev/zero", 1<<20)
	require.ErrorContains(t, err, "/dev/zero")
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, make([]byte, 1<<20), 0o600))
	data, err := s.ReadAtMost(t.Context(), name, 1<<20)
	require.NoError(t, err)
	assert.Len(t, data, 1<<20)
	_, err = s.ReadAtMost(t.Context(), name, 1<<20-1)
	require.ErrorIs(t, err, modalclient.ErrOutputLimit)
}

// TestVariablesOfHelpers sets, one after another, every variable that changes
// what our helpers' programs do, as their manuals have it.
func TestVariablesOfHelpers(t *testing.T) {
	t.Parallel()
	for program, variables := range map[string][]string{
		"sh":        {"ENV=/nowhere", "BASH_ENV=/nowhere", "IFS=/e", "CDPATH=/usr:/etc", "PS4=x", "SHELLOPTS=xtrace:noexec", "BASHOPTS=nullglob", "POSIXLY_CORRECT=1", "PATH=/nowhere", "GLOBIGNORE=*", "BASH_FUNC_cat%%=() { echo forged; }", "OPTIND=9"},
		"ld.so":     {"LD_PRELOAD=/nowhere.so", "LD_LIBRARY_PATH=/nowhere", "LD_DEBUG=all", "LD_BIND_NOW=1"},
		"libc":      {"LANG=de_DE.UTF-8", "LC_ALL=tr_TR.UTF-8", "LC_MESSAGES=fr_FR.UTF-8", "LANGUAGE=de:fr", "TZ=Nowhere/Land", "LOCPATH=/nowhere", "NLSPATH=/nowhere", "MALLOC_CHECK_=3", "TMPDIR=/nowhere", "GCONV_PATH=/nowhere"},
		"tar":       {"TAR_OPTIONS=--exclude=* --no-recursion --dereference --totals", "TAPE=/nowhere", "TAR_READER_OPTIONS=x", "TAR_WRITER_OPTIONS=x", "GZIP=-9"},
		"coreutils": {"BLOCK_SIZE=1", "BLOCKSIZE=1", "QUOTING_STYLE=shell", "TIME_STYLE=full-iso", "VERSION_CONTROL=numbered", "SIMPLE_BACKUP_SUFFIX=~", "_POSIX2_VERSION=199209", "COLUMNS=1"},
		"grep":      {"GREP_OPTIONS=-v", "GREP_COLOR=1", "GREP_COLORS=x"},
		"find":      {"FIND_BLOCK_SIZE=1", "DONT_CHECK_HARD_LINK_COUNT=1"},
		"python":    {"PYTHONSTARTUP=/nowhere", "PYTHONPATH=/nowhere", "PYTHONHOME=/nowhere"},
	} {
		for _, variable := range variables {
			t.Run(program+" "+strings.SplitN(variable, "=", 2)[0], func(t *testing.T) {
				t.Parallel()
				s := newWorld(t, hostWith(t, variable)).sandbox(t)
				dir := t.TempDir()
				file := filepath.Join(dir, "a dir/etc/file")
				require.NoError(t, s.WriteFile(t.Context(), file, strings.NewReader("content"), 0o640))
				data, err := s.ReadFile(t.Context(), file)
				require.NoError(t, err)
				assert.Equal(t, "content", string(data))
				_, err = s.ReadFile(t.Context(), dir+"/none")
				require.ErrorIs(t, err, fs.ErrNotExist)
				require.ErrorIs(t, s.EnsureDir(t.Context(), file+"/under"), syscall.ENOTDIR)
				stream, err := s.Download(t.Context(), dir)
				require.NoError(t, err)
				tree, err := io.ReadAll(stream)
				require.NoError(t, err)
				require.NoError(t, stream.Close())
				assert.Contains(t, string(tree), "content")
				require.NoError(t, s.Upload(t.Context(), bytes.NewReader(tree), dir+"/copy"))
				assert.FileExists(t, dir+"/copy/a dir/etc/file")
				identity, err := s.Splice(t.Context(), file, 3, 0, 6, "", strings.NewReader("rol"))
				require.NoError(t, err)
				assert.NotEmpty(t, identity)
				p, err := s.Exec(t.Context(), modalclient.ExecSpec{Args: []string{"/bin/sleep", "600"}})
				require.NoError(t, err)
				require.NoError(t, p.Kill(t.Context()))
				_, signal, err := p.Wait(t.Context())
				require.NoError(t, err)
				assert.NotZero(t, signal)
				p.CloseOutput()
				_, _ = io.Copy(io.Discard, io.MultiReader(p.Stdout, p.Stderr))
			})
		}
	}
}

// TestManyArguments passes arguments that travel on standard input.
func TestManyArguments(t *testing.T) {
	t.Parallel()
	s := newWorld(t, host(t)).sandbox(t)
	for _, c := range []struct {
		count, size int
		env         map[string]string
	}{
		{20_000, 8, nil}, {20_000, 25, nil}, {40_000, 8, nil}, {255, 300, nil}, {256, 300, nil}, {257, 300, nil}, {511, 300, nil}, {513, 300, nil},
		{1, 5000, map[string]string{"PATH": "/nowhere", "OTHER": "x"}}, {20, 5000, map[string]string{"PATH": "/nowhere", "seer_0": "y", "LARGE": strings.Repeat("z", 9000)}},
	} {
		args := []string{"/bin/sh", "-c", `echo "$#" "$PATH"; for a; do printf '%s\n' "$a"; done`, "x"}
		var want strings.Builder
		for i := range c.count {
			arg := fmt.Sprintf("%0*d", c.size, i)
			args = append(args, arg)
			want.WriteString(arg + "\n")
		}
		result, err := run(t, s, modalclient.ExecSpec{Args: args, Env: c.env}, nil)
		require.NoError(t, err)
		require.Zero(t, result.code, result.stderr)
		head, rest, _ := strings.Cut(result.stdout, "\n")
		assert.True(t, strings.HasPrefix(head, fmt.Sprint(c.count)+" "), head)
		if c.env != nil {
			assert.Contains(t, head, "/nowhere")
		}
		assert.True(t, rest == want.String(), "arguments changed")
	}
	_, err := run(t, s, modalclient.ExecSpec{Args: append([]string{"true"}, make([]string, 700_000)...)}, nil)
	require.ErrorIs(t, err, syscall.E2BIG)
	result, err := run(t, s, modalclient.ExecSpec{Args: []string{"true", "x"}, Env: map[string]string{"PATH": "/nowhere", "A": strings.Repeat("x", 5000)}}, nil)
	require.NoError(t, err)
	assert.Equal(t, 127, result.code)
	assert.Contains(t, result.stderr, "true", "what is missing is said")
}

// TestCancelledCallsReturn cancels what will not end by itself.
func TestCancelledCallsReturn(t *testing.T) {
	t.Parallel()
	s := newWorld(t, host(t)).sandbox(t)
	for name, args := range map[string][]string{
		"a flood that nobody reads": {"yes"},
		"one that ignores TERM":     {"sh", "-c", "trap '' TERM; while :; do sleep 1; done"},
		"both":                      {"sh", "-c", "trap '' TERM; while :; do yes; done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			p, err := s.Exec(ctx, modalclient.ExecSpec{Args: args})
			require.NoError(t, err)
			_, _, err = p.Wait(t.Context())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, _ = io.Copy(io.Discard, io.MultiReader(p.Stdout, p.Stderr))
		})
	}
}
