package seer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

// CLIOptions adjusts [NewCLISession].
type CLIOptions struct {
	Name      string        // of the MCP server; "" = "seer-shell"
	Timeout   time.Duration // of each Exec and Shell; 0 = none
	UploadDir string        // directory of this machine from which an agent may copy files into the sandbox; "" = none
	Logger    *slog.Logger  // nil = the sandbox's

	// OutputLimit is how many bytes are kept of what each Exec shows: of more,
	// the beginning and the end ([Result.Omitted]). 0 = 16 MiB; at least 64 KiB.
	OutputLimit int64
}

// CLISession gives an agent a sandbox without a notebook: a Python interpreter
// whose variables stay, and a shell. It may be used from several goroutines:
// Python code runs one piece after another, commands side by side.
type CLISession struct {
	*mcpHost
	sandbox *Sandbox
	opts    CLIOptions
	python  *interpreter

	mu  sync.Mutex
	env map[string]string // what libraries need
}

var _ Session = (*CLISession)(nil)

// NewCLISession applies a workspace to a running sandbox and starts an
// interpreter there. Workspace and opts may be nil. The sandbox's models are
// left for the agent to load, which ModelInfoText tells it how. End the session with Close.
func NewCLISession(ctx context.Context, sandbox *Sandbox, workspace *Workspace, opts *CLIOptions) (*CLISession, error) {
	if _, err := sandbox.running(); err != nil {
		return nil, fmt.Errorf("start session: %w", err)
	}
	s := &CLISession{sandbox: sandbox, env: map[string]string{}}
	if opts != nil {
		s.opts = *opts
	}
	setDefault(&s.opts.Name, "seer-shell")
	if s.opts.Logger == nil {
		s.opts.Logger = sandbox.opts.logger
	}
	s.python = newInterpreter(s.launch, s.opts.Timeout, s.opts.OutputLimit)
	s.python.libraries = sandboxPlace{}.libraries()
	tools := cliTools{s}
	s.mcpHost = newMCPHost(s.opts.Name, mcpserver.Tools{Python: tools, Shell: tools, Files: tools}, s.ModelInfoText(), s.opts.Logger)
	err := s.begin(ctx, workspace)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start session: %w", err), s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *CLISession) begin(ctx context.Context, workspace *Workspace) error {
	if err := s.sandbox.EnsureDir(ctx, sandboxWorkspace); err != nil {
		return err
	}
	if err := workspace.apply(ctx, sandboxPlace{s.sandbox}); err != nil {
		return err
	}
	if _, err := s.sandbox.preloadModels(ctx); err != nil {
		return err
	}
	if err := s.python.start(ctx); err != nil {
		return err
	}
	return s.adopt(ctx, workspace)
}

// Exec runs Python code as [Session] says. The interpreter dies with its
// memory or by its own doing: [ErrKernelDied]; Restart gives a new one.
func (s *CLISession) Exec(ctx context.Context, code string) (*Result, error) {
	return s.python.run(ctx, code, nil)
}

// Shell runs a command with bash in the workspace directory, otherwise as
// [Sandbox.Exec] does.
func (s *CLISession) Shell(ctx context.Context, command string) (string, error) {
	if _, err := s.python.live("run command"); err != nil {
		return "", err
	}
	ctx, cancel := s.limited(ctx)
	defer cancel()
	out, err := s.command(command).Output(ctx)
	return string(out), err
}

func (s *CLISession) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.opts.Timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.opts.Timeout)
}

func (s *CLISession) command(command string) *Cmd {
	cmd := s.sandbox.bash(command)
	cmd.Dir = sandboxWorkspace
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range sorted(s.env) {
		cmd.Env = append(cmd.Env, name+"="+s.env[name])
	}
	return cmd
}

// Interrupt stops the Python code that runs, as Ctrl-C does.
func (s *CLISession) Interrupt(ctx context.Context) error { return s.python.interrupt(ctx) }

// Restart replaces the interpreter by a new one, which runs the init code
// again. All variables are lost.
func (s *CLISession) Restart(ctx context.Context) error { return s.python.restart(ctx) }

// Setup adds a workspace, as [Session] says.
func (s *CLISession) Setup(ctx context.Context, workspace *Workspace) error {
	if _, err := s.python.live("set up session"); err != nil {
		return err
	}
	if err := workspace.apply(ctx, sandboxPlace{s.sandbox}); err != nil {
		return err
	}
	return s.adopt(ctx, workspace)
}

func (s *CLISession) adopt(ctx context.Context, workspace *Workspace) error {
	env := workspace.environ()
	s.mu.Lock()
	maps.Copy(s.env, env)
	s.mu.Unlock()
	return s.python.setup(ctx, env, workspace.initCode())
}

// ModelInfoText tells an agent which models and repositories there are, and
// how to load the models. Of hidden ones it tells nothing but the variables.
func (s *CLISession) ModelInfoText() string {
	return modelInfoText(s.sandbox.ModelHandles(), s.sandbox.RepoHandles(), false)
}

// WorkspacePath is /workspace, in the sandbox.
func (s *CLISession) WorkspacePath() string { return sandboxWorkspace }

// Close ends the interpreter and the MCP server. The sandbox runs on.
func (s *CLISession) Close(context.Context) error {
	err := s.closeMCP()
	s.python.close()
	return err
}

const interruptScript = `kill -s INT -- "-$1"`

// launch starts an interpreter in the sandbox.
func (s *CLISession) launch(ctx context.Context) (*pythonProcess, error) {
	in, stdin := io.Pipe()
	out, stdout := io.Pipe()
	cmd := s.sandbox.Command("python", "-c", interpreterScript)
	cmd.Dir, cmd.Stdin, cmd.Stdout = sandboxWorkspace, in, stdout
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	if err := cmd.Start(life); err != nil {
		end()
		return nil, err
	}
	p := &pythonProcess{stdin: stdin, kill: end}
	p.interrupt = func(ctx context.Context) error {
		_, err := s.sandbox.Command("sh", "-c", interruptScript, "interrupt", strconv.Itoa(p.pid)).Output(ctx)
		return err
	}
	wait := func() error {
		defer end()
		err := cmd.Wait()
		_, _ = in.Close(), stdout.Close() // a pipe's never fail
		var exit *ExitError
		if errors.As(err, &exit) {
			exit.Stdout = "" // our own protocol
		}
		return err
	}
	return p, awaitPython(ctx, p, out, s.python.output, wait)
}

// cliTools are the session's tools as the MCP server wants them.
type cliTools struct{ session *CLISession }

func (t cliTools) RunPython(ctx context.Context, code string, output func(string)) (mcpserver.Outcome, error) {
	return outcome(t.session.python.run(ctx, code, output))
}

func (t cliTools) Interrupt(ctx context.Context) error { return t.session.Interrupt(ctx) }

func (t cliTools) Restart(ctx context.Context) error { return t.session.Restart(ctx) }

func (t cliTools) RunCommand(ctx context.Context, command string, output func(string)) (mcpserver.Outcome, error) {
	ctx, cancel := t.session.limited(ctx)
	defer cancel()
	return shownOutcome(ctx, t.session.command(command), output)
}

func (t cliTools) path(name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(sandboxWorkspace, name)
}

func (t cliTools) ReadFile(ctx context.Context, name string) ([]byte, error) {
	name = t.path(name)
	info, err := fs.Stat(t.session.sandbox.FS(ctx), inRoot(name))
	if err == nil {
		err = readable(name, info)
	}
	var wrong *fs.PathError
	if errors.As(err, &wrong) {
		wrong.Op, wrong.Path = "read", name // as the agent knows it
	}
	if err != nil {
		return nil, err
	}
	return t.session.sandbox.ReadFile(ctx, name)
}

func (t cliTools) WriteFile(ctx context.Context, name string, data []byte) error {
	return t.session.sandbox.WriteFile(ctx, t.path(name), data)
}

func (t cliTools) ListFiles(ctx context.Context, name string) ([]fs.FileInfo, error) {
	entries, err := fs.ReadDir(t.session.sandbox.FS(ctx), inRoot(t.path(name)))
	return fileInfos(entries, err)
}

// inRoot is an absolute path as [fs.FS] wants it.
func inRoot(name string) string { return path.Join(".", name) }

// Upload copies from UploadDir, and from nowhere else.
func (t cliTools) Upload(ctx context.Context, source, target string) error {
	dir := t.session.opts.UploadDir
	if dir == "" {
		return errors.New("upload: this session has no directory to upload from; send data instead")
	}
	if !filepath.IsLocal(source) {
		return fmt.Errorf("upload: %q is not inside the directory that this session uploads from", source)
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	resolved, err := filepath.EvalSymlinks(filepath.Join(root, source))
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	if resolved != root && !strings.HasPrefix(resolved, root+string(os.PathSeparator)) {
		return fmt.Errorf("upload: %q is not inside the directory that this session uploads from", source)
	}
	return t.session.sandbox.Upload(ctx, resolved, t.path(target))
}

// maxAgentFile bounds what an agent reads of a file at once, in bytes; it is
// shown far less.
const maxAgentFile = 64 << 20

// readable refuses what would fill this program's memory, or never end.
func readable(name string, info fs.FileInfo) error {
	if err := regular(name, info); err != nil {
		return err
	}
	if info.Size() > maxAgentFile {
		return &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("%s is too much; read a part of it with code", formatSize(info.Size()))}
	}
	return nil
}

func fileInfos(entries []fs.DirEntry, err error) ([]fs.FileInfo, error) {
	if err != nil {
		return nil, err
	}
	infos := make([]fs.FileInfo, 0, len(entries))
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return slices.Clip(infos), nil
}
