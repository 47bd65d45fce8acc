package seer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

// NotebookSession gives an agent a notebook in a sandbox: an unmodified
// Jupyter server with a kernel of its own, and a document that grows in the
// sandbox and on this machine while the agent works. A person who opens
// [Sandbox.JupyterURL] sees the same. Any number of sessions work side by side
// on one sandbox. A session may be used from several goroutines; cells run one
// after another.
type NotebookSession struct {
	*notebook
	sandbox *Sandbox
	file    notebookFile
}

var _ Session = (*NotebookSession)(nil)

// NewNotebookSession applies a workspace to a running sandbox and starts a
// notebook there; Jupyter is installed first where it is missing. Workspace
// and opts may be nil. The sandbox's models are loaded into variables, unless
// the workspace says otherwise. End the session with Close.
func NewNotebookSession(ctx context.Context, sandbox *Sandbox, workspace *Workspace, opts *NotebookOptions) (*NotebookSession, error) {
	if opts == nil {
		opts = &NotebookOptions{}
	}
	file, err := openNotebook(*opts)
	if err != nil {
		return nil, fmt.Errorf("start session: %w", err)
	}
	s := &NotebookSession{sandbox: sandbox, file: file}
	s.notebook = newNotebook(sandboxHome{sandbox}, file, *opts, sandbox.opts.logger)
	err = s.begin(ctx, workspace)
	name := opts.MCPName
	setDefault(&name, "seer-notebook")
	tools := mcpserver.Tools{Notebook: notebookTools{s.notebook}}
	s.mcpHost = newMCPHost(name, tools, s.ModelInfoText(), s.logger)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start session: %w", err), s.Close(context.WithoutCancel(ctx)), file.discard())
	}
	return s, nil
}

func (s *NotebookSession) begin(ctx context.Context, workspace *Workspace) error {
	remote, err := s.sandbox.running()
	if err != nil {
		return err
	}
	server, err := s.sandbox.notebookServer(ctx, remote)
	if err != nil {
		return err
	}
	if err := workspace.apply(ctx, sandboxPlace{s.sandbox}); err != nil {
		return err
	}
	remotePath := path.Join(sandboxWorkspace, s.file.name)
	if err := s.start(ctx, server, s.file); err != nil {
		return err
	}
	if err := s.sandbox.WriteFile(ctx, remotePath, s.doc.Encode()); err != nil {
		return err
	}
	s.keep(remotePath, func(ctx context.Context, data []byte) error { return s.sandbox.WriteFile(ctx, remotePath, data) })
	s.keep(s.file.path, s.file.save)
	if workspace == nil || !workspace.SkipModelPreload {
		s.models = s.sandbox.preloadModels
	} else if _, err := s.sandbox.preloadModels(ctx); err != nil {
		return err
	}
	return s.populate(ctx, workspace, s.file)
}

// Setup adds a workspace, as [Session] says.
func (s *NotebookSession) Setup(ctx context.Context, workspace *Workspace) error {
	return s.extend(ctx, workspace, sandboxPlace{s.sandbox})
}

// ModelInfoText tells an agent which models and repositories there are, and
// which variables hold the models or how to load them there. Of hidden ones it
// tells nothing but the variables.
func (s *NotebookSession) ModelInfoText() string {
	return modelInfoText(s.sandbox.ModelHandles(), s.sandbox.RepoHandles(), s.loaded)
}

// WorkspacePath is /workspace, in the sandbox.
func (s *NotebookSession) WorkspacePath() string { return sandboxWorkspace }

// NotebookPath is the notebook's file on this machine.
func (s *NotebookSession) NotebookPath() string { return s.file.path }

// Close saves the notebook, ends its kernel and the MCP server. The sandbox
// and its Jupyter server run on.
func (s *NotebookSession) Close(ctx context.Context) error { return s.close(ctx) }

// sandboxHome is a sandbox as the place of kernels.
type sandboxHome struct{ sandbox *Sandbox }

func (h sandboxHome) leave(ctx context.Context, name string, data []byte) error {
	remote, err := h.sandbox.running()
	if err != nil {
		return err
	}
	return h.sandbox.fileError(remote.WriteFile(ctx, path.Join(jupyterRuntime, name), bytes.NewReader(data), 0o600))
}

func (h sandboxHome) libraries() string { return sandboxPlace{}.libraries() }

func (h sandboxHome) ended() error {
	_, err := h.sandbox.running()
	return err
}
