//go:build linux

package linux_test

import (
	"archive/tar"
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
)

func TestPullFromRegistry(t *testing.T) {
	outside := tempDir(t)
	first := append(programs(t, "/bin/sh", "/bin/cat", "/bin/ls", "/bin/sleep"),
		entry{h: tar.Header{Name: "data/gone", Typeflag: tar.TypeReg}, content: "gone"},
		entry{h: tar.Header{Name: "data/hidden/below", Typeflag: tar.TypeReg}, content: "below"},
		entry{h: tar.Header{Name: "data/one", Typeflag: tar.TypeReg, Mode: 0o4755}, content: "one"},
		entry{h: tar.Header{Name: "data/hard", Typeflag: tar.TypeLink, Linkname: "data/one"}},
		entry{h: tar.Header{Name: "data/soft", Typeflag: tar.TypeSymlink, Linkname: "/data/one"}},
		entry{h: tar.Header{Name: "proc", Typeflag: tar.TypeSymlink, Linkname: outside}},
		entry{h: tar.Header{Name: "../../../../../../../../" + outside + "/dots", Typeflag: tar.TypeReg}, content: "x"},
	)
	second := []entry{
		{h: tar.Header{Name: "data/.wh.gone", Typeflag: tar.TypeReg}},
		{h: tar.Header{Name: "data/hidden/.wh..wh..opq", Typeflag: tar.TypeReg}},
		{h: tar.Header{Name: "data/hidden/above", Typeflag: tar.TypeReg}, content: "above"},
	}
	ref := push(t, first, second)
	dir := seededDir(t)
	r := newRuntimeIn(t, linux.Config{Dir: dir})
	img, err := r.Pull(t.Context(), ref, runtime.PullOptions{Log: testWriter{t}})
	require.NoError(t, err)
	assert.Equal(t, runtime.ImageConfig{Env: []string{"FROM=image"}, Workdir: "/data", Cmd: []string{"sh"}}, img.Config)

	s := start(t, r, on(img))
	assert.Equal(t, "hard\nhidden\none\nsoft\nabove\noneone image\n", sh(t, s, "ls; ls hidden; cat soft hard; echo '' $FROM"))
	_, err = os.Stat(filepath.Join(outside, "dots"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	assert.Empty(t, left)

	again, err := r.Pull(t.Context(), ref, runtime.PullOptions{})
	require.NoError(t, err)
	assert.Equal(t, img, again, "kept")
	snapshot, err := s.Snapshot(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "one", sh(t, start(t, r, on(snapshot)), "cat one"))

	_, err = r.Pull(t.Context(), strings.Replace(ref, ":v1", ":v2", 1), runtime.PullOptions{})
	assert.ErrorContains(t, err, ":v2")
}

// A reference without a registry means the mirror's image, one with a registry never does.
func TestPullFromMirror(t *testing.T) {
	ref := push(t, []entry{{h: tar.Header{Name: "file", Typeflag: tar.TypeReg}, content: "x"}})
	mirror, image, _ := strings.Cut(ref, "/")
	r := newRuntimeIn(t, linux.Config{Dir: seededDir(t), RegistryMirror: mirror})
	img, err := r.Pull(t.Context(), image, runtime.PullOptions{})
	require.NoError(t, err)
	assert.Equal(t, []string{"sh"}, img.Config.Cmd)

	nobody := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(nobody.Close)
	other := strings.TrimPrefix(nobody.URL, "http://")
	_, err = r.Pull(t.Context(), other+"/"+image, runtime.PullOptions{})
	require.ErrorContains(t, err, other)
	_, err = linux.New(linux.Config{Dir: tempDir(t), RegistryMirror: "not a host"})
	assert.ErrorContains(t, err, "registry mirror")
}

// A layer may not write through a link that an earlier entry has made.
func TestPullThroughLink(t *testing.T) {
	outside := tempDir(t)
	ref := push(t, []entry{
		{h: tar.Header{Name: "way", Typeflag: tar.TypeSymlink, Linkname: outside}},
		{h: tar.Header{Name: "way/file", Typeflag: tar.TypeReg}, content: "x"},
	})
	_, err := newRuntimeIn(t, linux.Config{Dir: seededDir(t)}).Pull(t.Context(), ref, runtime.PullOptions{})
	assert.Error(t, err)
	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestHostStandsIn(t *testing.T) {
	r := newRuntime(t)
	release, err := os.ReadFile("/etc/os-release")
	require.NoError(t, err)
	values := map[string]string{}
	for line := range strings.Lines(string(release)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[key] = strings.Trim(value, `"`)
	}
	img, err := r.Pull(t.Context(), values["ID"]+":"+values["VERSION_ID"], runtime.PullOptions{})
	require.NoError(t, err)
	assert.Equal(t, hostImage(t, r), img)
}

type entry struct {
	h       tar.Header
	content string
}

// programs are the host's, with the libraries they need.
func programs(t *testing.T, paths ...string) []entry {
	t.Helper()
	files := map[string]bool{}
	for _, p := range paths {
		files[p] = true
		out, err := exec.CommandContext(t.Context(), "ldd", p).Output()
		require.NoError(t, err)
		for _, field := range strings.Fields(string(out)) {
			if strings.HasPrefix(field, "/") {
				files[field] = true
			}
		}
	}
	var entries []entry
	for path := range files {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		entries = append(entries, entry{tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o755}, string(b)})
	}
	return entries
}

// push makes an image of layers and serves it from a registry.
func push(t *testing.T, layers ...[]entry) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	ref := strings.TrimPrefix(server.URL, "http://") + "/test/image:v1"
	img, err := mutate.Config(empty.Image, v1.Config{Env: []string{"FROM=image"}, WorkingDir: "/data", Cmd: []string{"sh"}})
	require.NoError(t, err)
	for _, entries := range layers {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive(t, entries))), nil })
		require.NoError(t, err)
		img, err = mutate.AppendLayers(img, layer)
		require.NoError(t, err)
	}
	parsed, err := name.ParseReference(ref)
	require.NoError(t, err)
	require.NoError(t, remote.Write(parsed, img, remote.WithContext(t.Context())))
	return ref
}

func archive(t *testing.T, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.h.Size = int64(len(e.content))
		if e.h.Mode == 0 {
			e.h.Mode = 0o644
		}
		require.NoError(t, w.WriteHeader(&e.h))
		_, err := io.WriteString(w, e.content)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}
