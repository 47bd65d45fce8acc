package seer

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/plainfile"
)

// NotebookOptions adjusts [NewNotebookSession].
type NotebookOptions struct {
	// Name is the notebook's file name, without .ipynb: of the file in the
	// sandbox's workspace and of the one in OutputDir. "" means a new one.
	Name string
	// OutputDir is the directory of this machine where the notebook grows
	// while the agent works. "" means "outputs".
	OutputDir string
	// Resume is a notebook of this machine to go on with, a regular file of at
	// most 256 MiB, whose links stay in its directory: its cells are run
	// again, and it grows further where it is. Name and OutputDir are its.
	Resume string
	// Fork is a notebook of this machine, as Resume may be one, to begin with a copy of, whose cells
	// are run again. The original stays as it is.
	Fork string
	// OnOutput is called for everything that cells show, when they show it,
	// one call after another for each cell. It should return quickly.
	OnOutput func(Cell, Output)
	// OutputLimit is how many bytes are kept of what each cell shows, in its
	// Result and in the notebook: of more, the beginning and the end
	// ([Result.Omitted]). 0 means 16 MiB; the least is 64 KiB.
	OutputLimit int64
	// MCPName is the name of the MCP server. "" means "seer-notebook".
	MCPName string
	// Logger is for what no caller hears of. nil means the sandbox's.
	Logger *slog.Logger
}

const notebookSuffix = ".ipynb"

// notebookFile is the notebook of a session on this machine.
type notebookFile struct {
	doc  *jupyter.Notebook
	name string // with its suffix
	path string // on this machine
	old  bool   // there are cells to run again

	resumed bool // the file was there before
	shared  bool // it lies where the kernel runs, too
}

// openNotebook reads or makes the notebook that the options ask for.
func openNotebook(ctx context.Context, opts NotebookOptions) (notebookFile, error) {
	if opts.Resume != "" {
		if opts.Fork != "" || opts.Name != "" || opts.OutputDir != "" {
			return notebookFile{}, errors.New("resume notebook: Name, OutputDir and Fork are for other notebooks; leave them empty")
		}
		doc, err := readNotebook(ctx, opts.Resume)
		return notebookFile{doc: doc, name: filepath.Base(opts.Resume), path: opts.Resume, old: true, resumed: true}, err
	}
	setDefault(&opts.OutputDir, "outputs")
	if opts.Name == "" {
		opts.Name = "notebook-" + strings.ToLower(rand.Text()[:8])
	}
	if filepath.Base(opts.Name) != opts.Name || opts.Name == "." || opts.Name == ".." || strings.ContainsRune(opts.Name, 0) {
		return notebookFile{}, fmt.Errorf("name notebook %q: want a file name without directories: %w", opts.Name, fs.ErrInvalid)
	}
	file := notebookFile{name: strings.TrimSuffix(opts.Name, notebookSuffix) + notebookSuffix, old: opts.Fork != ""}
	file.path = filepath.Join(opts.OutputDir, file.name)
	var err error
	if opts.Fork != "" {
		file.doc, err = readNotebook(ctx, opts.Fork)
	} else {
		file.doc, err = jupyter.NewNotebook(jupyter.KernelSpec{})
	}
	if err != nil {
		return notebookFile{}, err
	}
	return file, file.create()
}

func readNotebook(ctx context.Context, path string) (*jupyter.Notebook, error) {
	data, err := plainfile.Read(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open notebook: %w", err)
	}
	doc, err := jupyter.ParseNotebook(data)
	if err != nil {
		return nil, fmt.Errorf("open notebook %s: %w", path, err)
	}
	return doc, nil
}

// create claims the name, so that no other session writes to the file.
func (f notebookFile) create() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o755); err != nil {
		return fmt.Errorf("create notebook: %w", err)
	}
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create notebook: %w; Resume goes on with it", err)
	}
	if err != nil {
		return fmt.Errorf("create notebook: %w", err)
	}
	_, err = file.Write(f.doc.Encode())
	return errors.Join(err, file.Close())
}

// discard removes the file that create made, for a session that did not begin.
func (f notebookFile) discard() error {
	if f.resumed {
		return nil
	}
	return os.Remove(f.path)
}

// save replaces the file at once: who reads it sees a whole notebook.
func (f notebookFile) save(_ context.Context, data []byte) error { return replaceFile(f.path, data) }

func replaceFile(path string, data []byte) error {
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = next.Write(data)
	err = errors.Join(err, next.Chmod(0o644), next.Close())
	if err == nil {
		err = os.Rename(next.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next.Name()))
	}
	return nil
}

func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(one, other)
}

// remoteFile is a file of a sandbox that is saved again and again: what has
// not changed since the last time does not travel.
type remoteFile struct {
	sandbox  *Sandbox
	path     string
	sent     []byte // what was saved last
	identity string // of the file then; "" = there was none
}

// save replaces the file at once. Nothing else may call it at the same time.
func (f *remoteFile) save(ctx context.Context, data []byte) error {
	err := f.splice(ctx, data)
	if errors.Is(err, modalclient.ErrChanged) {
		f.sent, f.identity = nil, ""
		err = f.splice(ctx, data)
	}
	return f.sandbox.fileError(err)
}

func (f *remoteFile) splice(ctx context.Context, data []byte) error {
	remote, err := f.sandbox.running()
	if err != nil {
		return err
	}
	head := commonPrefix(f.sent, data)
	tail := commonSuffix(f.sent[head:], data[head:])
	changed := bytes.NewReader(data[head : len(data)-tail])
	identity, err := remote.Splice(ctx, f.path, head, tail, len(data), f.identity, changed)
	if err != nil {
		return err
	}
	f.sent, f.identity = data, identity
	return nil
}

const compareBlock = 4096

func commonPrefix(a, b []byte) int {
	n, limit := 0, min(len(a), len(b))
	for n+compareBlock <= limit && bytes.Equal(a[n:n+compareBlock], b[n:n+compareBlock]) {
		n += compareBlock
	}
	for n < limit && a[n] == b[n] {
		n++
	}
	return n
}

func commonSuffix(a, b []byte) int {
	n, limit := 0, min(len(a), len(b))
	for n+compareBlock <= limit && bytes.Equal(a[len(a)-n-compareBlock:len(a)-n], b[len(b)-n-compareBlock:len(b)-n]) {
		n += compareBlock
	}
	for n < limit && a[len(a)-n-1] == b[len(b)-n-1] {
		n++
	}
	return n
}

// keep begins to save the notebook somewhere after every change.
func (n *notebook) keep(where string, save func(context.Context, []byte) error) {
	n.savers = append(n.savers, jupyter.NewSaver(n.doc, save, &jupyter.SaverOptions{
		OnError: func(err error) { n.logger.Warn("save notebook", "file", where, "error", err) },
	}))
}
