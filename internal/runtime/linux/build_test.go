//go:build linux

package linux_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/layers"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/tree"
)

func TestBuild(t *testing.T) {
	r := newRuntime(t)
	var log bytes.Buffer
	img, err := r.Build(t.Context(), runtime.BuildSpec{
		Base: hostImage(t, r).ID,
		Steps: []runtime.Step{
			{Run: []string{"sh", "-c", "echo $SECRET | md5sum > /root/sum; echo building; echo loudly >&2; sleep 1000 & setsid sleep 1000 &"}},
			{Copy: &runtime.Copy{Target: "/srv/tree", Source: fstest.MapFS{
				"dir/run.sh": {Data: []byte("#!/bin/sh\necho ran\n"), Mode: 0o755},
				"dir/plain":  {Data: []byte("x"), Mode: 0o600},
			}}},
			{Run: []string{"sh", "-c", "/srv/tree/dir/run.sh > /srv/out; pwd >> /srv/out; rm -r /usr/share/doc"}},
		},
		Config: runtime.ImageConfig{Env: []string{"KEPT=yes"}, Workdir: "/srv"},
		Env:    []string{"SECRET=hidden"},
		Log:    &log,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.RemoveImage(context.Background(), img.ID)) })
	assert.Equal(t, "building\nloudly\n", log.String())

	stored, err := r.Image(t.Context(), img.ID)
	require.NoError(t, err)
	assert.Equal(t, img, stored)
	s := start(t, r, on(img))
	assert.Equal(t, "ran\n/srv\n/srv\nyes\n\n755\n600\n",
		sh(t, s, "cat /srv/out; pwd; echo $KEPT; echo $SECRET; stat -c %a /srv/tree/dir/*n.sh /srv/tree/dir/plain"))
	assert.NotZero(t, run(t, s, "test", "-e", "/usr/share/doc").status.Code)

	// Only other settings.
	derived, err := r.Build(t.Context(), runtime.BuildSpec{Base: img.ID, Config: runtime.ImageConfig{Env: []string{"KEPT=no"}}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.RemoveImage(context.Background(), derived.ID)) })
	assert.Equal(t, "no\n", sh(t, start(t, r, on(derived)), "echo $KEPT; test -e /srv/out"))
}

func TestFailingBuild(t *testing.T) {
	dir := seededDir(t)
	r := newRuntimeIn(t, linux.Config{Dir: dir})
	base := hostImage(t, r).ID
	_, err := r.Build(t.Context(), runtime.BuildSpec{Base: base, Steps: []runtime.Step{
		{Run: []string{"true"}}, {Run: []string{"sh", "-c", "exit 3"}}, {Run: []string{"true"}},
	}})
	var stepError *runtime.StepError
	require.ErrorAs(t, err, &stepError)
	assert.Equal(t, &runtime.StepError{Step: 1, Status: runtime.ExitStatus{Code: 3}}, stepError)

	ctx, cancel := context.WithCancel(t.Context())
	log := writerFunc(func(b []byte) (int, error) {
		cancel()
		return len(b), nil
	})
	_, err = r.Build(ctx, runtime.BuildSpec{Base: base, Log: log, Steps: []runtime.Step{{Run: []string{"sh", "-c", "echo started; sleep 1000"}}}})
	assert.ErrorIs(t, err, context.Canceled)
	_, err = r.Build(t.Context(), runtime.BuildSpec{Base: "im-none"})
	assert.ErrorIs(t, err, runtime.ErrNotFound)

	for _, kind := range []string{"layers", "images", "sandboxes", "building"} {
		left, err := os.ReadDir(dir + "/" + kind)
		require.NoError(t, err)
		assert.Empty(t, left, kind)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestManyLayers(t *testing.T) {
	dir := seededDir(t)
	r := newRuntimeIn(t, linux.Config{Dir: dir})
	hostImage(t, r)
	store, err := layers.Open(dir, os.Geteuid() == 0, "", slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	img, err := store.HostImage(t.Context())
	require.NoError(t, err)
	t.Cleanup(store.Close)
	for i := range 500 {
		img = addLayer(t, store, img, i)
	}
	s := start(t, r, on(runtime.Image{ID: img.ID}))
	assert.Equal(t, "499\n/usr/share/layer498\n/usr/share/layer499\n",
		sh(t, s, "cat /srv/last; ls -d /usr/share/layer* /usr/share/doc 2>/dev/null || true"))
}

// addLayer adds a layer in which a file changes, one appears, one goes and,
// once, a directory of the host goes.
func addLayer(t *testing.T, store *layers.Store, img layers.Image, i int) layers.Image {
	t.Helper()
	building, err := store.NewLayer()
	require.NoError(t, err)
	root, err := building.Part("/")
	require.NoError(t, err)
	usr, err := building.Part("/usr")
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(root+"/srv", 0o755))
	require.NoError(t, os.WriteFile(root+"/srv/last", fmt.Appendln(nil, i), 0o644))
	require.NoError(t, os.Mkdir(usr+"/share", 0o755))
	require.NoError(t, os.WriteFile(fmt.Sprintf("%s/share/layer%d", usr, i), nil, 0o644))
	if i > 1 {
		require.NoError(t, tree.Whiteout(unix.AT_FDCWD, fmt.Sprintf("%s/share/layer%d", usr, i-2)))
	}
	if i == 300 {
		require.NoError(t, tree.Whiteout(unix.AT_FDCWD, usr+"/share/doc"))
	}
	next, err := building.Commit(layers.Image{Kind: layers.Built, Config: img.Config, Layers: img.Layers, Host: img.Host})
	require.NoError(t, err)
	require.NoError(t, building.Remove())
	if len(img.Layers) > 0 {
		require.NoError(t, store.RemoveImage(img.ID))
	}
	return next
}

// pythonImage is made once for all tests.
var pythonImage = struct {
	sync.Mutex
	img runtime.Image
}{}

func python(t *testing.T, r *linux.Runtime) runtime.Image {
	t.Helper()
	pythonImage.Lock()
	defer pythonImage.Unlock()
	if pythonImage.img.ID == "" {
		img, err := r.Pull(t.Context(), "python:3.11-slim-bookworm", runtime.PullOptions{Log: testWriter{t}})
		require.NoError(t, err)
		pythonImage.img = img
	}
	return pythonImage.img
}

func TestPython(t *testing.T) {
	r := newRuntime(t)
	versions := r.Pythons()
	require.NotEmpty(t, versions)
	img := python(t, r)
	same, err := r.Pull(t.Context(), "docker.io/library/python:"+versions[0], runtime.PullOptions{})
	require.NoError(t, err)
	assert.Equal(t, img, same, "made once")

	s := start(t, r, on(img))
	assert.Equal(t, "/opt/python/bin/python\n/opt/python/bin/pip\n", sh(t, s, "which python pip"))
	assert.Equal(t, versions[0]+"\n", sh(t, s, `python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'`))
	for _, shell := range []string{
		"bash -lc", "sh -lc", "env -i bash -lc", "env -i sh -c", "env -i PATH=/bin sh -lc", "su - -c", "su -c", "env PATH=/usr/local/bin:/usr/bin:/bin sh -c", "env -i HOME=/root SHELL=/bin/sh LOGNAME=root bash -lic",
	} {
		assert.Equal(t, "/opt/python\n", sh(t, s, shell+` 'python -c "import sys; print(sys.prefix)"' 2>/dev/null`), shell)
		assert.Contains(t, sh(t, s, shell+` 'pip --version' 2>/dev/null`), "/opt/python/", shell)
	}
	put(t, s, "/tmp/seertest-1.0-py3-none-any.whl", wheel(t), 0o644)
	sh(t, s, "pip install --no-index /tmp/seertest-1.0-py3-none-any.whl && cd / && python -c 'import seertest; assert seertest.x == 1'")

	var log bytes.Buffer
	_, err = r.Pull(t.Context(), "python:3.99", runtime.PullOptions{Log: &log})
	require.NoError(t, err)
	assert.Equal(t, "Python 3.99 is not on this machine, which has "+strings.Join(versions, ", ")+"; "+versions[0]+" is used\n", log.String())
}

// wheel is a Python package as pip installs it.
func wheel(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range map[string]string{
		"seertest.py":                     "x = 1\n",
		"seertest-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: seertest\nVersion: 1.0\n",
		"seertest-1.0.dist-info/WHEEL":    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		"seertest-1.0.dist-info/RECORD":   "",
	} {
		w, err := z.Create(name)
		require.NoError(t, err)
		_, err = w.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	return b.String()
}

func TestInstallFromTheNetwork(t *testing.T) {
	longtest.Only(t)
	r := newRuntime(t)
	open := runtime.Network{Private: true} // packages may come from a mirror
	var log bytes.Buffer
	img, err := r.Build(t.Context(), runtime.BuildSpec{
		Base:   python(t, r).ID,
		Config: python(t, r).Config,
		Steps: []runtime.Step{
			{Run: []string{"apt-get", "-q", "update"}},
			{Run: []string{"apt-get", "-q", "-y", "--no-install-recommends", "install", "hello", "cowsay"}},
			{Run: []string{"pip", "install", "-q", "einops"}},
		},
		Env:     []string{"DEBIAN_FRONTEND=noninteractive"},
		Network: open,
		Log:     &log,
	})
	require.NoError(t, err, log.String())
	s := start(t, r, on(img))
	assert.Equal(t, "Hello, world!\nok\n", sh(t, s, "hello; cd / && python -c 'import einops; print(\"ok\")'"))
	assert.Equal(t, "ii \n", sh(t, s, "dpkg-query -W -f '${db:Status-Abbrev}\n' hello"))
}
