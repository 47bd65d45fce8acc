package seer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/guard"
	"github.com/ajobi-uhc/seer-go/internal/isolation"
	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
	"github.com/ajobi-uhc/seer-go/internal/plainfile"
)

// LocalOptions adjusts [NewLocalSession].
type LocalOptions struct {
	// Isolated runs the interpreter apart from this machine, in the local
	// runtime of package local (import it; Linux only): of this machine it sees
	// the workspace directory, as /workspace, and of the network the services
	// of its libraries. Python is then looked for inside; "" = this machine's
	// own Python, without what it has installed outside the standard places.
	Isolated bool

	Python  string            // interpreter, a path or a name in PATH; "" = python3, else python
	Env     map[string]string // variables for the interpreter
	Secrets []string          // names of variables for the interpreter, taken from this program's environment, then .env
	EnvFile string            // "" = .env of this program's working directory, if there is one
	Name    string            // of the MCP server; "" = "seer-local"
	Timeout time.Duration     // of each Exec; 0 = none
	Logger  *slog.Logger      // nil = slog.Default()

	// OutputLimit is how many bytes are kept of what each Exec shows: of more,
	// the beginning and the end ([Result.Omitted]). 0 = 16 MiB; at least 64 KiB.
	OutputLimit int64
}

// LocalSession is a Python interpreter on this machine that works in a
// directory. It is the session of an agent that calls a [ScopedSandbox]: the
// service's library is imported here and runs there.
//
// Unless [LocalOptions] say Isolated, it is no security boundary. The code has the rights of the user who runs this
// program: it reads their files and uses their network. What it does not get
// is this program's environment: of that, only what interpreters need is passed
// on, never Modal's or Hugging Face's tokens nor what .env defines, unless
// [LocalOptions] lists it. Code that nobody trusts belongs in a sandbox and a
// [CLISession], or in an isolated session.
//
// A LocalSession may be used from several goroutines; code is run one piece
// after another.
type LocalSession struct {
	*mcpHost
	place  localPlace
	apart  *isolated // nil = on this machine itself
	python *interpreter
}

var _ Session = (*LocalSession)(nil)

// NewLocalSession makes workspaceDir, applies a workspace to it and starts an
// interpreter there. Workspace and opts may be nil. End the session with Close;
// the directory stays.
func NewLocalSession(ctx context.Context, workspace *Workspace, workspaceDir string, opts *LocalOptions) (*LocalSession, error) {
	var o LocalOptions
	if opts != nil {
		o = *opts
	}
	setDefault(&o.Name, "seer-local")
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	place, err := newLocalPlace(workspaceDir, o)
	if err != nil {
		return nil, fmt.Errorf("start local session: %w", err)
	}
	s := &LocalSession{place: place}
	launch := s.launch
	if o.Isolated {
		if s.apart, err = openIsolated(ctx, place, o.Logger); err != nil {
			return nil, fmt.Errorf("start local session: %w", err)
		}
		s.apart.output = outputLimit(o.OutputLimit)
		launch = s.apart.launch
	}
	s.python = newInterpreter(launch, o.Timeout, o.OutputLimit)
	tools := localTools{s}
	s.mcpHost = newMCPHost(o.Name, mcpserver.Tools{Python: tools, Files: tools}, "", o.Logger)
	if err := s.begin(ctx, workspace); err != nil {
		return nil, errors.Join(fmt.Errorf("start local session: %w", err), s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// newLocalPlace makes a directory of this machine a place for workspaces.
func newLocalPlace(dir string, o LocalOptions) (localPlace, error) {
	if dir == "" {
		return localPlace{}, errors.New("no workspace directory given")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return localPlace{}, err
	}
	place := localPlace{dir: dir, python: o.Python}
	libraries := place.libraryDir()
	// A directory that is missing when Python starts is never looked into again.
	if err := place.makeLibraryDir(); err != nil {
		return localPlace{}, err
	}
	if o.Isolated {
		setDefault(&place.python, "python")
		libraries = path.Join(isolation.Workspace, localLibraries)
	} else if place.python, err = findPython(o.Python); err != nil {
		return localPlace{}, err
	}
	place.env, err = localEnviron(o, libraries)
	return place, err
}

func (p localPlace) libraryDir() string {
	return filepath.Join(p.dir, filepath.FromSlash(localLibraries))
}

// makeLibraryDir makes the directory of libraries. What an earlier session left
// in its place, a link that leads elsewhere above all, goes.
func (p localPlace) makeLibraryDir() error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	for name := range eachParent(localLibraries) {
		if info, err := root.Lstat(name); err == nil && !info.IsDir() {
			if err := root.Remove(name); err != nil {
				return err
			}
		}
	}
	return root.MkdirAll(localLibraries, 0o755)
}

// eachParent yields the directories on the way to a relative path, and the path.
func eachParent(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i, c := range name {
			if c == '/' && !yield(name[:i]) {
				return
			}
		}
		yield(name)
	}
}

func findPython(name string) (string, error) {
	names := []string{name}
	if name == "" {
		names = []string{"python3", "python"}
	}
	var errs []error
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err == nil {
			return filepath.Abs(path)
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("find Python: %w", errors.Join(errs...))
}

func (s *LocalSession) begin(ctx context.Context, workspace *Workspace) error {
	if err := s.apply(ctx, workspace); err != nil {
		return err
	}
	if err := s.python.start(ctx); err != nil {
		return err
	}
	return s.adopt(ctx, workspace)
}

func (s *LocalSession) apply(ctx context.Context, workspace *Workspace) error {
	if s.apart != nil {
		return workspace.apply(ctx, s.apart)
	}
	return workspace.apply(ctx, s.place)
}

func (s *LocalSession) adopt(ctx context.Context, workspace *Workspace) error {
	env := workspace.environ()
	if s.apart != nil {
		var err error
		if env, err = s.apart.environ(env); err != nil {
			return err
		}
	}
	return s.python.setup(ctx, env, workspace.initCode())
}

// Exec runs Python code as [Session] says. The interpreter dies with its
// memory or by its own doing: [ErrKernelDied]; Restart gives a new one.
func (s *LocalSession) Exec(ctx context.Context, code string) (*Result, error) {
	return s.python.run(ctx, code, nil)
}

// Interrupt stops the code that runs, as Ctrl-C does.
func (s *LocalSession) Interrupt(ctx context.Context) error { return s.python.interrupt(ctx) }

// Restart replaces the interpreter by a new one, which runs the init code
// again. All variables are lost.
func (s *LocalSession) Restart(ctx context.Context) error { return s.python.restart(ctx) }

// Setup adds a workspace, as [Session] says.
func (s *LocalSession) Setup(ctx context.Context, workspace *Workspace) error {
	if _, err := s.python.live("set up session"); err != nil {
		return err
	}
	if err := s.apply(ctx, workspace); err != nil {
		return err
	}
	return s.adopt(ctx, workspace)
}

// ModelInfoText is empty: there are no models on this machine.
func (s *LocalSession) ModelInfoText() string { return "" }

// WorkspacePath is the absolute path of the workspace directory; /workspace,
// as the code sees it, in an isolated session.
func (s *LocalSession) WorkspacePath() string {
	if s.apart != nil {
		return isolation.Workspace
	}
	return s.place.dir
}

// Close ends the interpreter, with what it started, and the MCP server.
func (s *LocalSession) Close(context.Context) error {
	err := s.closeMCP()
	s.python.close()
	if s.apart != nil {
		err = errors.Join(err, s.apart.close())
	}
	return err
}

// launch starts an interpreter on this machine.
func (s *LocalSession) launch(ctx context.Context) (*pythonProcess, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.place.python, "-c", interpreterScript)
	cmd.Dir, cmd.Env = s.place.dir, s.place.env
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, written, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	complaints := &tail{}
	cmd.Stdout, cmd.Stderr = written, complaints
	cmd.WaitDelay = outputGrace // for the pipe behind Stderr, which a forked process may hold
	guarded, err := guard.Start(cmd)
	if err != nil {
		return nil, errors.Join(err, stdin.Close(), stdout.Close(), written.Close())
	}
	_ = written.Close() // the child has it
	p := &pythonProcess{
		stdin:     stdin,
		kill:      guarded.End,
		interrupt: func(context.Context) error { return guarded.Interrupt() },
	}
	wait := func() error {
		err := cmd.Wait()
		guarded.End()
		_ = stdout.SetReadDeadline(time.Now().Add(outputGrace))
		return exitError(s.place.python, err, complaints)
	}
	return p, awaitPython(ctx, p, stdout, s.python.output, wait)
}

// outputGrace is how long a process that outlives the interpreter may hold its
// output open.
const outputGrace = 2 * time.Second

func exitError(python string, err error, complaints *tail) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return nil
	}
	e := &ExitError{Command: filepath.Base(python), Code: exit.ExitCode(), Stderr: complaints.text()}
	if signal := endSignal(exit.ProcessState); signal != 0 {
		e.Code, e.Signal = 128+signal, signal
	}
	return e
}

// localTools are the session's tools as the MCP server wants them.
type localTools struct{ session *LocalSession }

func (t localTools) RunPython(ctx context.Context, code string, output func(string)) (mcpserver.Outcome, error) {
	return outcome(t.session.python.run(ctx, code, output))
}

func (t localTools) Interrupt(ctx context.Context) error { return t.session.Interrupt(ctx) }

func (t localTools) Restart(ctx context.Context) error { return t.session.Restart(ctx) }

// inside opens the workspace directory and finds a path in it.
func (t localTools) inside(name string) (*os.Root, string, error) {
	if filepath.IsAbs(name) {
		if rel, err := filepath.Rel(t.session.place.dir, name); err == nil && filepath.IsLocal(rel) {
			name = rel
		}
	}
	inside, err := t.session.place.locate(name)
	if err != nil {
		return nil, "", err
	}
	root, err := os.OpenRoot(t.session.place.dir)
	return root, inside, err
}

func (t localTools) ReadFile(_ context.Context, name string) ([]byte, error) {
	root, inside, err := t.inside(name)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(inside)
	if err == nil {
		err = readable(name, info)
	}
	if err != nil {
		return nil, err
	}
	file, err := root.OpenFile(inside, os.O_RDONLY|plainfile.NonBlocking, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err == nil { // it may be another one by now
		err = readable(name, info)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(file, maxAgentFile))
}

// writeRegular writes a file, and nothing that only looks like one: a named pipe
// would be waited for.
func writeRegular(root *os.Root, inside, name string, data []byte) error {
	file, err := root.OpenFile(inside, os.O_WRONLY|os.O_CREATE|plainfile.NonBlocking, 0o644)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		err = regular(name, info)
	}
	if err == nil {
		err = file.Truncate(0)
	}
	if err == nil {
		_, err = file.Write(data)
	}
	return errors.Join(err, file.Close())
}

func (t localTools) WriteFile(_ context.Context, name string, data []byte) error {
	root, inside, err := t.inside(name)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.Dir(inside), 0o755); err != nil {
		return err
	}
	return writeRegular(root, inside, name, data)
}

func (t localTools) ListFiles(_ context.Context, name string) ([]fs.FileInfo, error) {
	root, inside, err := t.inside(name)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir, err := root.Open(inside)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(localEntries + 1)
	if errors.Is(err, io.EOF) { // none
		err = nil
	}
	if err == nil && len(entries) > localEntries {
		err = &fs.PathError{Op: "list", Path: name, Err: fmt.Errorf("more than %d entries: %w", localEntries, ErrOutputLimit)}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return fileInfos(entries, err)
}

// localEntries are how many a directory may have that is listed for an agent.
const localEntries = 25_000

func (t localTools) Upload(context.Context, string, string) error {
	return errors.New("upload: this session's files are on this machine already; send data instead")
}

// mergeEnv writes variables over others.
func mergeEnv(parts ...map[string]string) []string {
	all := map[string]string{}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	env := make([]string, 0, len(all))
	for _, name := range sorted(all) {
		env = append(env, name+"="+all[name])
	}
	return env
}
