//go:build linux

package linux

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/layers"
)

// environmentDir is the Python environment of an image that stands on the
// host: the host's own one belongs to its packages, and its pip installs
// nothing there.
const environmentDir = "/opt/python"

//go:embed login.sh
var loginScript string

// interpreter is a Python of the host.
type interpreter struct {
	version string // "3.11"
	path    string
	pip     bool // it can make an environment with pip
}

// interpreters lists the host's, its default first.
func interpreters() []interpreter {
	var found []interpreter
	for _, dir := range []string{"/usr/bin", "/usr/local/bin"} {
		names, err := filepath.Glob(filepath.Join(dir, "python3.*"))
		if err != nil {
			continue
		}
		for _, path := range names {
			version := strings.TrimPrefix(filepath.Base(path), "python")
			if strings.Trim(version, "0123456789") != "." || // python3.11-config, python3.11d
				slices.ContainsFunc(found, func(i interpreter) bool { return i.version == version }) {
				continue
			}
			lib := filepath.Join(filepath.Dir(dir), "lib", "python"+version)
			_, pipErr := os.Stat(filepath.Join(lib, "ensurepip"))
			_, venvErr := os.Stat(filepath.Join(lib, "venv"))
			found = append(found, interpreter{version: version, path: path, pip: pipErr == nil && venvErr == nil})
		}
	}
	standard, _ := filepath.EvalSymlinks("/usr/bin/python3")
	slices.SortStableFunc(found, func(a, b interpreter) int {
		switch {
		case a.path == standard:
			return -1
		case b.path == standard:
			return 1
		default:
			return 0
		}
	})
	return found
}

// Pythons lists the versions ("3.11") of the host's interpreters, the one that
// stands in for others first.
func (r *Runtime) Pythons() []string {
	versions, _ := Offers()
	return versions
}

// Offers says what the host's root file system has for sandboxes that stand on
// it: the versions of Python, the one that stands in for others first, and
// whether apt-get can install packages.
func Offers() (pythons []string, apt bool) {
	var versions []string
	for _, i := range interpreters() {
		versions = append(versions, i.version)
	}
	_, err := os.Stat("/usr/bin/apt-get")
	return versions, err == nil
}

// python returns the image with an environment of a Python version.
func (r *Runtime) python(ctx context.Context, version string, log io.Writer) (layers.Image, error) {
	r.building.Lock()
	defer r.building.Unlock()
	host, err := r.store.HostImage(ctx)
	if err != nil {
		return layers.Image{}, err
	}
	found := interpreters()
	chosen := interpreter{version: "3", path: "/usr/bin/python3"} // as the package will install it
	if len(found) > 0 {
		chosen = found[0]
	}
	for _, i := range found {
		if i.version == version {
			chosen = i
		}
	}
	if version != "" && chosen.version != version && len(found) > 0 {
		_, _ = fmt.Fprintf(log, "Python %s is not on this machine, which has %s; %s is used\n",
			version, strings.Join(r.Pythons(), ", "), chosen.version)
	}
	ref := "python-2:" + chosen.version // the number tells what buildPython makes
	if img, err := r.store.Find(ref); err == nil || !errors.Is(err, runtime.ErrNotFound) {
		return img, err
	}
	return r.buildPython(ctx, host, chosen, ref, log)
}

func (r *Runtime) buildPython(ctx context.Context, host layers.Image, chosen interpreter, ref string, log io.Writer) (layers.Image, error) {
	config := runtime.ImageConfig{
		Env: []string{"PATH=" + environmentDir + "/bin:" + systemPath, "VIRTUAL_ENV=" + environmentDir},
		Cmd: []string{"python3"},
	}
	spec := runtime.BuildSpec{Config: config, Log: log}
	if !chosen.pip {
		// Packages come from where the host gets them, maybe a private mirror.
		spec.Network.Private = true
		spec.Steps = []runtime.Step{
			{Run: []string{"apt-get", "-q", "update"}},
			{Run: []string{"apt-get", "-q", "-y", "--no-install-recommends", "install", venvPackage(chosen)}},
		}
		spec.Env = []string{"DEBIAN_FRONTEND=noninteractive"}
	}
	spec.Steps = append(spec.Steps,
		runtime.Step{Run: []string{chosen.path, "-m", "venv", environmentDir}},
		runtime.Step{Run: []string{"/bin/sh", "-ec", loginScript, "login", environmentDir}})
	img, err := r.build(ctx, host, spec, ref)
	if err != nil && !chosen.pip {
		return img, fmt.Errorf("this machine's Python cannot make environments; install the package %s: %w", venvPackage(chosen), err)
	}
	return img, err
}

func venvPackage(i interpreter) string { return "python" + i.version + "-venv" }
