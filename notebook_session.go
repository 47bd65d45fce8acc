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
	placed  bool // it is in the sandbox
}

var _ Session = (*NotebookSession)(nil)

// NewNotebookSession applies a workspace to a running sandbox and starts a
// notebook there; Jupyter is installed first where it is missing. Workspace
// and opts may be nil. The sandbox's models are loaded into variables, unless
// the workspace says otherwise. End the session with Close.
func NewNotebookSession(ctx context.Context, sandbox *Sandbox, workspace *Workspace, opts *NotebookOptions) (*NotebookSession, error) {
	if _, err := sandbox.running(); err != nil {
		return nil, fmt.Errorf("start session: %w", err)
	}
	if opts == nil {
		opts = &NotebookOptions{}
	}
	file, err := openNotebook(ctx, *opts)
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
		return nil, errors.Join(fmt.Errorf("start session: %w", err), s.Close(context.WithoutCancel(ctx)), s.discard(ctx))
	}
	return s, nil
}

func (s *NotebookSession) begin(ctx context.Context, workspace *Workspace) error {
	if err := workspace.validate(); err != nil {
		return err
	}
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
	remotePath := s.remotePath()
	if err := s.start(ctx, server, s.file); err != nil {
		return err
	}
	shown := &remoteFile{sandbox: s.sandbox, path: remotePath}
	if err := shown.save(ctx, s.doc.Encode()); err != nil {
		return fmt.Errorf("save notebook: %w", err)
	}
	s.placed = true
	s.keep(remotePath, shown.save)
	s.keep(s.file.path, s.file.save)
	if workspace == nil || !workspace.SkipModelPreload {
		s.models = s.sandbox.preloadModels
	} else if _, err := s.sandbox.preloadModels(ctx); err != nil {
		return err
	}
	return s.populate(ctx, workspace, s.file)
}

func (s *NotebookSession) remotePath() string { return path.Join(sandboxWorkspace, s.file.name) }

// discard removes the files of a session that did not begin.
func (s *NotebookSession) discard(ctx context.Context) error {
	err := s.file.discard()
	if !s.placed || s.file.resumed {
		return err
	}
	ctx, cancel := withGrace(ctx, endTimeout)
	defer cancel()
	_, gone := s.sandbox.Command("rm", "-f", "--", s.remotePath()).Output(ctx)
	return errors.Join(err, s.unlessEnded(gone))
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
