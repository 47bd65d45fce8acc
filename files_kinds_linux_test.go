package seer_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
)

// fileKind is one kind of thing at a path. It is made by the same shell script
// on this machine and in the sandbox, at $1, and is below a directory of its own.
type fileKind struct {
	name   string
	make   string // sh, with the path as $1; it may take a name of its own below it
	at     string // what is copied, below the path; "" = the path itself
	fails  string // what the error says; "" = it is copied
	is     error  // what it matches; nil = anything
	dir    bool
	sparse bool
}

// fileKinds are all there are. The right value is the content that a read to
// the end gives, or the error.
func fileKinds() []fileKind {
	deep := strings.Repeat("d/", 200)
	kinds := []fileKind{
		{name: "regular", make: `printf 'text\n' >"$1"; chmod 640 "$1"`},
		{name: "empty", make: `: >"$1"`},
		{name: "executable", make: `printf '#!/bin/sh\n' >"$1"; chmod 755 "$1"`},
		{name: "all bytes", make: `head -c 100000 /dev/zero | tr '\0' '\377' >"$1"; printf '\000\r\n' >>"$1"`},
		{name: "sparse", make: `truncate -s 8M "$1"; printf x | dd of="$1" bs=1 seek=4194304 conv=notrunc 2>/dev/null`, sparse: true},
		{name: "all hole", make: `truncate -s 8M "$1"`, sparse: true},
		{name: "linked", make: `printf content >"$1.real"; ln -s "$(basename "$1").real" "$1"`},
		{name: "linked twice", make: `printf content >"$1.real"; ln -s "$(basename "$1").real" "$1.link"; ln -s "$1.link" "$1"`},
		{name: "dangling", make: `ln -s nowhere "$1"`, fails: "no such file|file does not exist", is: fs.ErrNotExist},
		{name: "looping", make: `ln -s "$(basename "$1")" "$1"`, fails: "too many levels", is: syscall.ELOOP},
		{name: "below a loop", make: `ln -s "$(basename "$1")" "$1"`, at: "x", fails: "too many levels", is: syscall.ELOOP},
		{name: "hard-linked", make: `printf content >"$1"; ln "$1" "$1.second"`},
		{name: "fifo", make: `mkfifo "$1"`, fails: "named pipe"},
		{name: "fifo behind a link", make: `mkfifo "$1.real"; ln -s "$(basename "$1").real" "$1"`, fails: "named pipe"},
		{name: "socket", make: `python3 -c 'import os,socket,sys; os.chdir(os.path.dirname(sys.argv[1])); socket.socket(socket.AF_UNIX).bind(os.path.basename(sys.argv[1]))' "$1"`, fails: "socket"},
		{name: "device", make: `ln -s /dev/null "$1"`, fails: "device"},
		{name: "directory", make: `mkdir -p "$1/sub/empty"; printf x >"$1/sub/x"`, dir: true},
		{name: "directory behind a link", make: `mkdir "$1.real"; printf x >"$1.real/x"; ln -s "$(basename "$1").real" "$1"`, dir: true},
		{name: "absent", make: `:`, fails: "no such file|file does not exist", is: fs.ErrNotExist},
		{name: "below a file", make: `printf x >"$1"`, at: "x", fails: "not a directory", is: syscall.ENOTDIR},
		{name: "long name", make: `mkdir "$1"; printf x >"$1/` + strings.Repeat("n", 255) + `"`, at: strings.Repeat("n", 255)},
		{name: "deep tree", make: `mkdir -p "$1/` + deep + `"; printf x >"$1/` + deep + `x"`, dir: true},
		{name: "a thousand entries", make: `mkdir "$1"; seq 1000 | while read i; do echo $i >"$1/$i"; done`, dir: true},
		{name: "kernel file", make: `ln -s /proc/sys/kernel/ostype "$1"`},
		{name: "kernel file of a page", make: `ln -s /sys/kernel/mm/transparent_hugepage/enabled "$1"`},
	}
	for i, odd := range append(oddNames, "latin1-\xe9", "\xff\xfe", "ends in newline\n", "=", "-C", "@x", "./x"[2:]) {
		kinds = append(kinds, fileKind{name: fmt.Sprintf("odd name %d %q", i, odd), make: `mkdir "$1"; cd "$1"; cat >./"$2"`, at: odd})
	}
	return kinds
}

// prepare makes every kind below a directory, with a shell.
const prepareKinds = `cd "$1"; shift; while [ $# -gt 0 ]; do sh -c "$2" make "$PWD/$1" "$3" </dev/null; shift 3; done`

func kindArgs(dir string) []string {
	args := []string{dir}
	for i, k := range fileKinds() {
		args = append(args, fmt.Sprintf("k%d", i), k.make, filepath.Base("/"+k.at))
	}
	return args
}

// where is the path of a kind below the directory that prepareKinds filled.
func where(dir string, i int) string {
	path := fmt.Sprintf("%s/k%d", dir, i)
	if at := fileKinds()[i].at; at != "" {
		path += "/" + at
	}
	return path
}

// assertCopied checks an error, or a copy against what it was made of.
func assertCopied(t *testing.T, k fileKind, err error, from, to string) {
	t.Helper()
	if k.fails != "" {
		require.Error(t, err)
		assert.Regexp(t, k.fails, err.Error())
		assert.Regexp(t, `k\d+`, err.Error(), "the error names the path")
		if k.is != nil {
			assert.ErrorIs(t, err, k.is)
		}
		assert.NoFileExists(t, to)
		return
	}
	require.NoError(t, err)
	if k.dir {
		resolved, err := filepath.EvalSymlinks(from)
		require.NoError(t, err)
		assert.Equal(t, describeTree(t, resolved), describeTree(t, to))
		return
	}
	want, err := os.ReadFile(from)
	require.NoError(t, err)
	got, err := os.ReadFile(to)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(want, got), "content: %d bytes, not %d", len(got), len(want))
	info, err := os.Lstat(to)
	require.NoError(t, err)
	assert.True(t, info.Mode().IsRegular())
	if source, err := os.Stat(from); err == nil && !strings.HasPrefix(k.name, "kernel") {
		assert.Equal(t, source.Mode(), info.Mode())
	}
	if k.sparse {
		assert.Less(t, info.Sys().(*syscall.Stat_t).Blocks*512, int64(1<<20), "it has holes no more") //nolint:errcheck,forcetypeassert // Linux
	}
}

// Every kind of file, in every direction, gives the same right value. What is
// made in the sandbox is the same as what is made here, so that each can be
// compared with the other.
func TestEveryKindOfFileInEveryDirection(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	here := t.TempDir()
	make := exec.CommandContext(ctx, "sh", append([]string{"-c", prepareKinds, "prepare"}, kindArgs(here)...)...)
	out, err := make.CombinedOutput()
	require.NoError(t, err, string(out))

	config := seer.SandboxConfig{}
	for i, k := range fileKinds() {
		switch {
		case k.fails != "":
		case k.dir:
			config.LocalDirs = append(config.LocalDirs, seer.Mount{Source: where(here, i), Target: fmt.Sprintf("/declared/k%d", i)})
		default:
			config.LocalFiles = append(config.LocalFiles, seer.Mount{Source: where(here, i), Target: fmt.Sprintf("/declared/k%d", i)})
		}
	}
	sandbox := startSandbox(t, config)
	require.NoError(t, sandbox.EnsureDir(ctx, "/there"))
	require.NoError(t, sandbox.Command("sh", append([]string{"-c", prepareKinds, "prepare"}, kindArgs("/there")...)...).Run(ctx))

	back := t.TempDir()
	for i, k := range fileKinds() {
		t.Run(k.name, func(t *testing.T) {
			from := where(here, i)
			t.Run("Download", func(t *testing.T) {
				to := filepath.Join(back, fmt.Sprintf("down-k%d", i))
				err := sandbox.Download(ctx, where("/there", i), to)
				if strings.HasPrefix(k.name, "kernel") && err == nil {
					assert.FileExists(t, to) // the sandbox's kernel files may have other content
					info, err := os.Stat(to)
					require.NoError(t, err)
					assert.Positive(t, info.Size())
					assert.Less(t, info.Size(), int64(4096), "no zeros for what is not there")
					return
				}
				assertCopied(t, k, err, from, to)
			})
			t.Run("Upload", func(t *testing.T) {
				up := fmt.Sprintf("/up/k%d", i)
				if err := sandbox.Upload(ctx, from, up); k.fails != "" {
					assertCopied(t, k, err, from, filepath.Join(back, "nothing"))
					return
				} else if !assert.NoError(t, err) {
					return
				}
				to := filepath.Join(back, fmt.Sprintf("up-k%d", i))
				assertCopied(t, k, sandbox.Download(ctx, up, to), from, to)
			})
			t.Run("declared", func(t *testing.T) {
				if k.fails != "" {
					mounts := []seer.Mount{{Source: from, Target: "/x"}}
					assert.Error(t, seer.SandboxConfig{LocalFiles: mounts}.Validate(seer.WithBackend(seer.Modal())))
					return
				}
				to := filepath.Join(back, fmt.Sprintf("declared-k%d", i))
				assertCopied(t, k, sandbox.Download(ctx, fmt.Sprintf("/declared/k%d", i), to), from, to)
			})
			t.Run("ReadFile", func(t *testing.T) {
				data, err := sandbox.ReadFile(ctx, where("/there", i))
				switch {
				case k.dir:
					require.ErrorIs(t, err, syscall.EISDIR)
				case k.fails != "":
					assertCopied(t, k, err, from, filepath.Join(back, "nothing"))
				default:
					require.NoError(t, err)
					want, err := os.ReadFile(from)
					require.NoError(t, err)
					if !strings.HasPrefix(k.name, "kernel") {
						assert.True(t, bytes.Equal(want, data))
					}
				}
			})
			t.Run("WriteFile", func(t *testing.T) {
				at := where("/there", i)
				err := sandbox.WriteFile(ctx, at, []byte("new"))
				switch {
				case k.dir:
					require.ErrorIs(t, err, syscall.EISDIR)
				case strings.HasPrefix(k.name, "kernel"):
					require.Error(t, err)
				case k.name == "dangling" || k.name == "absent": // it is made
					require.NoError(t, err)
				case k.fails != "":
					assertCopied(t, k, err, from, filepath.Join(back, "nothing"))
				default:
					require.NoError(t, err)
					data, err := sandbox.ReadFile(ctx, at)
					require.NoError(t, err)
					assert.Equal(t, "new", string(data))
				}
			})
		})
	}
}

// heard is a logger, and what it was told.
func heard() (seer.Option, *bytes.Buffer) {
	var log bytes.Buffer
	return seer.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))), &log
}

func TestSpecialFilesInTreesAreLeftOutAndListed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	logger, log := heard()
	sandbox := startSandbox(t, seer.SandboxConfig{}, logger)
	tree := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(tree, "pipe"), 0o644))
	listener, err := net.Listen("unix", filepath.Join(tree, "sock"))
	require.NoError(t, err)
	defer listener.Close()
	require.NoError(t, os.WriteFile(filepath.Join(tree, "file"), []byte("x"), 0o644))

	require.NoError(t, sandbox.Upload(ctx, tree, "/up"))
	assert.Contains(t, log.String(), `\"pipe\" is a named pipe`)
	assert.Contains(t, log.String(), `\"sock\" is a socket`)
	log.Reset()

	_, err = sandbox.Exec(ctx, `cd /up && mkfifo pipe && ln -s /etc/passwd out && ln -s file in &&
		python -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'`)
	require.NoError(t, err)
	back := filepath.Join(t.TempDir(), "back")
	require.NoError(t, sandbox.Download(ctx, "/up", back))
	for _, said := range []string{"pipe", "sock", "is a socket", "is a named pipe", "leads out of the tree"} {
		assert.Contains(t, log.String(), said)
	}
	assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"))
	entries, err := os.ReadDir(back)
	require.NoError(t, err)
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	assert.Equal(t, []string{"file", "in"}, names)
}

func TestWriteFileKeepsWhatItReplaces(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	sandbox := startSandbox(t, seer.SandboxConfig{})
	_, err := sandbox.Exec(ctx, `cd /tmp && echo old >f && ln f second && chown 12:34 f && chmod 600 f`)
	require.NoError(t, err)
	before, err := sandbox.Exec(ctx, `stat -c '%u:%g %a' /tmp/f`)
	require.NoError(t, err)
	require.NoError(t, sandbox.WriteFile(ctx, "/tmp/f", []byte("new")))
	after, err := sandbox.Exec(ctx, `cd /tmp && stat -c '%u:%g %a' f && cat f second`)
	require.NoError(t, err)
	assert.Equal(t, before+"newold\n", after)

	for path, want := range map[string]error{"/tmp/new/": syscall.EISDIR, "/tmp/new/.": syscall.EISDIR, "/tmp/..": syscall.EISDIR, "/": syscall.EISDIR, "": fs.ErrInvalid, "/dev/null": nil} {
		err := sandbox.WriteFile(ctx, path, []byte("x"))
		var pathError *fs.PathError
		require.ErrorAs(t, err, &pathError, path)
		assert.Equal(t, path, pathError.Path)
		if want != nil {
			assert.ErrorIs(t, err, want)
		}
	}
	out, err := sandbox.Exec(ctx, "test -e /tmp/new && echo made; test -c /dev/null && echo device")
	require.NoError(t, err)
	assert.Equal(t, "device\n", out)
}

func TestUploadReplacesAsCpDoes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	sandbox := startSandbox(t, seer.SandboxConfig{})
	_, err := sandbox.Exec(ctx, `mkdir /w && cd /w && echo old >file && ln -s file link && ln -s none dangling && ln -s loop loop && mkfifo pipe && mkdir dir`)
	require.NoError(t, err)
	tree := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(tree, "x"), []byte("new"), 0o644))
	for _, target := range []string{"file", "link", "dangling", "loop", "pipe", "file/below"} {
		err := sandbox.Upload(ctx, tree, "/w/"+target)
		require.ErrorIs(t, err, syscall.ENOTDIR, target)
		assert.ErrorContains(t, err, "/w/"+target)
	}
	for target, want := range map[string]string{"dir": "is a directory", "pipe": "is a named pipe"} {
		assert.ErrorContains(t, sandbox.Upload(ctx, filepath.Join(tree, "x"), "/w/"+target), want)
	}
	require.NoError(t, sandbox.Upload(ctx, filepath.Join(tree, "x"), "/w/link"))
	out, err := sandbox.Exec(ctx, "cd /w && cat file link && stat -c %F link pipe dangling")
	require.NoError(t, err)
	assert.Equal(t, "old\nnewregular file\nfifo\nsymbolic link\n", out)

	// The other way round.
	_, err = sandbox.Exec(ctx, "mkdir /d && echo x >/d/x")
	require.NoError(t, err)
	file := filepath.Join(tree, "x")
	require.Error(t, sandbox.Download(ctx, "/d", file))
	require.Error(t, sandbox.Download(ctx, "/w/file", tree))
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "new", string(data))
}

func TestTreesOfTheSandboxThatChangeMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	logger, log := heard()
	sandbox := startSandbox(t, seer.SandboxConfig{}, logger)
	// tar stops at its first file until the others have changed.
	_, err := sandbox.Exec(ctx, `mkdir -p /w/m && cd /w/m && for f in a b c d; do head -c 3000000 /dev/zero | tr '\0' $f >$f; done
real=$(command -v tar)
cat >/usr/local/bin/tar <<END
#!/bin/sh
case "\$*" in *-C\ /w*) "$real" --checkpoint=1 --checkpoint-action='exec=test -e /w/done || { : >/w/done; truncate -s 1000 /w/m/d; rm /w/m/c; echo more >>/w/m/b; }' "\$@" ;; *) exec "$real" "\$@" ;; esac
END
chmod +x /usr/local/bin/tar`)
	require.NoError(t, err)
	back := filepath.Join(t.TempDir(), "back")
	require.NoError(t, sandbox.Download(ctx, "/w/m", back))
	for name, sizes := range map[string][]int64{"a": {3000000}, "b": {3000000, 3000005}, "c": {-1, 3000000}, "d": {1000, 3000000}} {
		size := int64(-1)
		data, err := os.ReadFile(filepath.Join(back, name))
		if err == nil {
			size = int64(len(data))
			assert.NotContains(t, string(data), "\x00", name)
		}
		assert.Contains(t, sizes, size, name)
	}
	assert.Empty(t, log.String())
}

func TestManyEntries(t *testing.T) {
	longtest.Only(t)
	sandbox := startSandbox(t, seer.SandboxConfig{})
	tree := t.TempDir()
	for i := range 100_000 {
		dir := filepath.Join(tree, fmt.Sprint(i/1000))
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte(fmt.Sprint(i)), 0o644))
	}
	require.NoError(t, sandbox.Upload(t.Context(), tree, "/many"))
	back := filepath.Join(t.TempDir(), "back")
	require.NoError(t, sandbox.Download(t.Context(), "/many", back))
	assert.Equal(t, describeTree(t, tree), describeTree(t, back))
}
