package seer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

// LocalNotebookOptions adjusts [NewLocalNotebookSession].
type LocalNotebookOptions struct {
	NotebookOptions

	Dir     string            // workspace directory, where code runs; "" = "workspace"
	Python  string            // interpreter, a path or a name in PATH, which has jupyter_server and ipykernel; "" = python3, else python
	Env     map[string]string // variables for the kernel
	Secrets []string          // names of variables for the kernel, taken from this program's environment, then .env
	EnvFile string            // "" = .env of this program's working directory, if there is one
}

// LocalNotebookSession is a notebook on this machine, on a Jupyter server of
// its own. Like a [LocalSession] it is no security boundary. It may be used
// from several goroutines; cells run one after another.
type LocalNotebookSession struct {
	*notebook
	place  localPlace
	file   notebookFile
	server *localJupyter
	placed bool // it is in the workspace directory too
}

var _ Session = (*LocalNotebookSession)(nil)

// NewLocalNotebookSession makes the workspace directory, applies a workspace
// to it and starts a notebook there. Workspace and opts may be nil. A Python
// without Jupyter is an error that says how to install it. End the session
// with Close; the directory stays.
func NewLocalNotebookSession(ctx context.Context, workspace *Workspace, opts *LocalNotebookOptions) (*LocalNotebookSession, error) {
	var o LocalNotebookOptions
	if opts != nil {
		o = *opts
	}
	setDefault(&o.Dir, "workspace")
	place, err := newLocalPlace(o.Dir, LocalOptions{Python: o.Python, Env: o.Env, Secrets: o.Secrets, EnvFile: o.EnvFile})
	if err != nil {
		return nil, fmt.Errorf("start local notebook session: %w", err)
	}
	file, err := openNotebook(ctx, o.NotebookOptions)
	if err != nil {
		return nil, fmt.Errorf("start local notebook session: %w", err)
	}
	s := &LocalNotebookSession{place: place, file: file, server: &localJupyter{place: place}}
	s.notebook = newNotebook(s.server, file, o.NotebookOptions, slog.Default())
	setDefault(&o.MCPName, "seer-notebook")
	s.mcpHost = newMCPHost(o.MCPName, mcpserver.Tools{Notebook: notebookTools{s.notebook}}, "", s.logger)
	if err := s.begin(ctx, workspace); err != nil {
		return nil, errors.Join(fmt.Errorf("start local notebook session: %w", err), s.Close(context.WithoutCancel(ctx)), s.discard())
	}
	return s, nil
}

func (s *LocalNotebookSession) begin(ctx context.Context, workspace *Workspace) error {
	if err := workspace.apply(ctx, s.place); err != nil {
		return err
	}
	client, err := s.server.start(ctx, s.logger)
	if err != nil {
		return err
	}
	shown := s.shown()
	s.file.shared = sameFile(shown, s.file.path)
	if err := s.start(ctx, client, s.file); err != nil {
		return err
	}
	s.keep(s.file.path, s.file.save)
	if !s.file.shared {
		s.placed = true
		s.keep(shown, func(_ context.Context, data []byte) error { return replaceFile(shown, data) })
	}
	return s.populate(ctx, workspace, s.file)
}

// shown is the notebook's file in the workspace directory.
func (s *LocalNotebookSession) shown() string { return filepath.Join(s.place.dir, s.file.name) }

// discard removes the files of a session that did not begin.
func (s *LocalNotebookSession) discard() error {
	err := s.file.discard()
	if !s.placed || s.file.resumed {
		return err
	}
	gone := os.Remove(s.shown())
	if errors.Is(gone, fs.ErrNotExist) {
		gone = nil
	}
	return errors.Join(err, gone)
}

// Setup adds a workspace, as [Session] says.
func (s *LocalNotebookSession) Setup(ctx context.Context, workspace *Workspace) error {
	return s.extend(ctx, workspace, s.place)
}

// ModelInfoText is empty: there are no models on this machine.
func (s *LocalNotebookSession) ModelInfoText() string { return "" }

// WorkspacePath is the absolute path of the workspace directory.
func (s *LocalNotebookSession) WorkspacePath() string { return s.place.dir }

// NotebookPath is the notebook's file in OutputDir.
func (s *LocalNotebookSession) NotebookPath() string { return s.file.path }

// JupyterURL is the address of the session's own server, with its token: it
// opens in a browser, and it is a secret.
func (s *LocalNotebookSession) JupyterURL() string { return s.server.url }

// Close saves the notebook and ends the kernel, the Jupyter server and the MCP
// server.
func (s *LocalNotebookSession) Close(ctx context.Context) error {
	err := s.close(ctx)
	return errors.Join(err, s.server.stop())
}
