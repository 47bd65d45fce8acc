package seer

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/archive"
)

// sandboxWorkspace is the directory where agents work in a sandbox.
const sandboxWorkspace = "/workspace"

// place is where a workspace is applied.
type place interface {
	// locate turns a target of a workspace into a path that copy takes.
	locate(target string) (string, error)
	// libraries is the directory of packages, as copy takes it.
	libraries() string
	// copy puts files and trees of this machine at their targets.
	copy(ctx context.Context, mounts []Mount) error
	// publish makes the place's Pythons import from libraries, and checks that
	// the named packages are found there and nowhere else.
	publish(ctx context.Context, names []string) error
}

// apply copies everything to a place, as one stream, and makes the libraries
// importable there. It runs no init code. A nil Workspace is an empty one.
func (w *Workspace) apply(ctx context.Context, p place) error {
	if w == nil {
		w = &Workspace{}
	}
	if err := w.validate(); err != nil {
		return err
	}
	mounts, err := w.mounts(p)
	if err != nil {
		return err
	}
	stage, err := os.MkdirTemp("", "seer-workspace-")
	if err != nil {
		return fmt.Errorf("set up workspace: %w", err)
	}
	defer os.RemoveAll(stage)
	staged, err := w.stage(stage, p)
	if err != nil {
		return fmt.Errorf("set up workspace: %w", err)
	}
	if mounts = append(mounts, staged...); len(mounts) > 0 {
		if err := p.copy(ctx, mounts); err != nil {
			return fmt.Errorf("set up workspace: %w", err)
		}
	}
	if len(w.Libraries) == 0 {
		return nil
	}
	names := make([]string, len(w.Libraries))
	for i, library := range w.Libraries {
		names[i] = library.Name
	}
	if err := p.publish(ctx, names); err != nil {
		return fmt.Errorf("set up libraries: %w", err)
	}
	return nil
}

// skillHomes are the directories of a workspace where skills are looked for.
var skillHomes = []string{"skills", ".claude/skills"}

// mounts are the files of this machine that a workspace takes with it.
func (w *Workspace) mounts(p place) ([]Mount, error) {
	mounts := slices.Concat(w.LocalFiles, w.LocalDirs)
	for _, dir := range w.SkillDirs {
		name, err := skillDirName(dir)
		if err != nil {
			return nil, fmt.Errorf("set up skill %s: %w", dir, err)
		}
		for _, home := range skillHomes {
			mounts = append(mounts, Mount{Source: dir, Target: path.Join(home, name)})
		}
	}
	for i, m := range mounts {
		target, err := p.locate(m.Target)
		if err != nil {
			return nil, fmt.Errorf("set up %s: %w", m.Source, err)
		}
		mounts[i].Target = target
	}
	return mounts, nil
}

// stage writes what has no file on this machine yet to one.
func (w *Workspace) stage(dir string, p place) ([]Mount, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	write := func(name, content string) error {
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		return root.WriteFile(name, []byte(content), 0o644)
	}
	var mounts []Mount
	for _, library := range w.Libraries {
		files := library.files()
		for _, name := range sorted(files) {
			if err := write(path.Join("lib", library.Name, name), files[name]); err != nil {
				return nil, err
			}
		}
		mounts = append(mounts, Mount{Source: filepath.Join(dir, "lib", library.Name), Target: path.Join(p.libraries(), library.Name)})
	}
	for _, skill := range w.Skills {
		if err := write(path.Join("skills", skill.Name, skillFile), skill.Markdown()); err != nil {
			return nil, err
		}
		for _, home := range skillHomes {
			target, err := p.locate(path.Join(home, skill.Name))
			if err != nil {
				return nil, err
			}
			mounts = append(mounts, Mount{Source: filepath.Join(dir, "skills", skill.Name), Target: target})
		}
	}
	return mounts, nil
}

//go:embed python/publish.py
var publishScript string

// sandboxPlace is a running sandbox.
type sandboxPlace struct{ sandbox *Sandbox }

func (p sandboxPlace) locate(target string) (string, error) {
	if strings.ContainsRune(target, 0) || target == "" {
		return "", fmt.Errorf("target %q is no path: %w", target, fs.ErrInvalid)
	}
	if path.IsAbs(target) {
		return path.Clean(target), nil
	}
	return path.Join(sandboxWorkspace, target), nil
}

func (p sandboxPlace) libraries() string { return "/opt/seer/lib" }

func (p sandboxPlace) copy(ctx context.Context, mounts []Mount) error {
	remote, err := p.sandbox.running()
	if err != nil {
		return err
	}
	return p.sandbox.upload(ctx, remote, mounts)
}

func (p sandboxPlace) publish(ctx context.Context, names []string) error {
	args := append([]string{"-c", publishScript, p.libraries(), "everywhere"}, names...)
	_, err := p.sandbox.Command("python", args...).Output(ctx)
	return err
}

// localPlace is a directory of this machine. Its interpreters find libraries
// by PYTHONPATH.
type localPlace struct {
	dir    string // absolute
	python string
	env    []string // of the interpreter, PYTHONPATH included
}

func (p localPlace) locate(target string) (string, error) {
	inside := filepath.ToSlash(target)
	if inside == sandboxWorkspace || strings.HasPrefix(inside, sandboxWorkspace+"/") {
		inside = "." + strings.TrimPrefix(inside, sandboxWorkspace)
	}
	inside = path.Clean(inside)
	if target == "" || !filepath.IsLocal(filepath.FromSlash(inside)) {
		return "", fmt.Errorf("target %q is not inside the workspace directory: %w", target, fs.ErrInvalid)
	}
	return inside, nil
}

// localLibraries is where the packages of a workspace directory are.
const localLibraries = ".seer/lib"

func (p localPlace) libraries() string { return localLibraries }

func (p localPlace) copy(ctx context.Context, mounts []Mount) error {
	trees := make([]archive.Tree, len(mounts))
	for i, m := range mounts {
		trees[i] = archive.Tree{Source: m.Source, Name: m.Target}
	}
	reader, writer := io.Pipe()
	stop := context.AfterFunc(ctx, func() { _ = reader.CloseWithError(ctx.Err()) })
	defer stop()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		_ = writer.CloseWithError(archive.Tar(writer, nil, trees...)) // the reader gets the error
	}()
	err := archive.Untar(reader, p.dir, archive.Options{OuterLinks: true})
	_ = reader.CloseWithError(errors.New("copy has ended"))
	<-packed
	return err
}

func (p localPlace) publish(ctx context.Context, names []string) error {
	args := append([]string{"-c", publishScript, filepath.Join(p.dir, filepath.FromSlash(localLibraries)), "here"}, names...)
	cmd := exec.CommandContext(ctx, p.python, args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &ExitError{Command: p.python, Code: exit.ExitCode(), Stderr: stderr.String()}
	}
	return err
}
