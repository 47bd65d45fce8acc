package seer

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
	"github.com/ajobi-uhc/seer-go/internal/plainfile"
)

var (
	//go:embed python/prepare_kernel.py
	prepareKernelPy string
	// prepareKernelScript takes on the environment and libraries of a session.
	prepareKernelScript = interruptsPy + prepareKernelPy
)

// notebook is a notebook and its kernel: what both kinds of notebook sessions
// have in common. It may be used from several goroutines.
type notebook struct {
	*mcpHost
	home     notebookHome
	doc      *jupyter.Notebook
	kernel   *jupyter.Kernel
	savers   []*jupyter.Saver
	onOutput func(Cell, Output)

	outputLimit int64 // bytes kept of what each cell shows

	logger *slog.Logger
	rerun  []CellResult
	models func(context.Context) (code string, err error) // nil = none are loaded
	loaded bool                                           // models are in variables

	mu      sync.Mutex
	environ map[string]string // what libraries need
	inits   []string          // code that every new process of the kernel runs first
	closed  bool
}

// notebookHome is the place where a notebook's kernel runs.
type notebookHome interface {
	// leave puts what prepareKernelScript reads beside a kernel's connection file.
	leave(ctx context.Context, name string, data []byte) error
	libraries() string
	// ended says why nothing can run there any more; nil if it can.
	ended() error
}

func newNotebook(home notebookHome, file notebookFile, opts NotebookOptions, logger *slog.Logger) *notebook {
	if opts.Logger != nil {
		logger = opts.Logger
	}
	limit := outputLimit(opts.OutputLimit)
	file.doc.LimitOutputs(limit)
	return &notebook{home: home, doc: file.doc, onOutput: opts.OnOutput, outputLimit: limit, logger: logger, environ: map[string]string{}}
}

// start gives the notebook a kernel, under the name that people see.
func (n *notebook) start(ctx context.Context, server *jupyter.Server, file notebookFile) error {
	sessions, err := server.Sessions(ctx)
	if err != nil {
		return err
	}
	used := slices.ContainsFunc(sessions, func(s jupyter.SessionInfo) bool { return s.Path == file.name })
	open := server.NewNotebook
	switch {
	case used && file.resumed:
		open = server.OpenNotebook
	case used:
		return fmt.Errorf("open notebook %s: another session uses it: %w", file.name, fs.ErrExist)
	case !file.resumed:
		if err := vacant(ctx, server, file); err != nil {
			return fmt.Errorf("open notebook %s: %w", file.name, err)
		}
	}
	kernel, err := open(ctx, file.name, "")
	if err != nil {
		return err
	}
	n.kernel = kernel
	return nil
}

// vacant makes sure that a new notebook replaces nobody's file where its kernel
// runs.
func vacant(ctx context.Context, server *jupyter.Server, file notebookFile) error {
	if file.shared {
		return nil
	}
	taken, err := server.Exists(ctx, file.name)
	if err == nil && taken {
		err = fmt.Errorf("the workspace has a file of this name: %w", fs.ErrExist)
	}
	return err
}

// CellKind says what a cell of a notebook holds.
type CellKind string

// The kinds of cells.
const (
	CellCode     CellKind = "code"
	CellMarkdown CellKind = "markdown"
	CellRaw      CellKind = "raw"
)

// Cell is a copy of a cell of a notebook.
type Cell struct {
	ID             string // stays the same, whatever happens to the cell and its neighbours
	Kind           CellKind
	Source         string
	Outputs        []Output // CellCode
	ExecutionCount int      // CellCode; 0 until it has run
}

// CellResult says how a cell of an existing notebook fared when it was run again.
type CellResult struct {
	Cell Cell
	Err  error // nil, or a *[KernelError]
}

// Exec runs Python code in a new cell at the end of the notebook, as [Session]
// says. A cell may take hours; input() raises an error at once. The kernel
// dies with its memory or by its own doing: [ErrKernelDied]; Restart gives a
// new one. A cut connection is made again; [Result.Incomplete] says that it
// may have cost outputs, and an error that the end of the cell was among them.
func (n *notebook) Exec(ctx context.Context, code string) (*Result, error) {
	return n.run(ctx, n.doc.AddCode(code), nil)
}

// ExecFile runs a Python file of this machine in a new cell.
func (n *notebook) ExecFile(ctx context.Context, path string) (*Result, error) {
	code, err := plainfile.Read(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("run file: %w", err)
	}
	return n.Exec(ctx, string(code))
}

// ExecHidden runs code that leaves no trace in the notebook and in the
// kernel's history, but for the variables that it sets. The value of its last
// expression is not shown.
func (n *notebook) ExecHidden(ctx context.Context, code string) (*Result, error) {
	if err := n.open(); err != nil {
		return nil, fmt.Errorf("run hidden code: %w", err)
	}
	result, err := n.kernel.Execute(ctx, code, &jupyter.ExecuteOptions{Silent: true, OutputLimit: n.outputLimit})
	return fromKernel(result), n.failure(err)
}

// AddMarkdown adds a text cell to the end of the notebook.
func (n *notebook) AddMarkdown(source string) (Cell, error) {
	if err := n.open(); err != nil {
		return Cell{}, fmt.Errorf("add markdown: %w", err)
	}
	return n.cell(n.doc.AddMarkdown(source))
}

// EditCell replaces the source of a cell and, if it is code, runs it again in
// its place. The Result of a text cell is empty.
func (n *notebook) EditCell(ctx context.Context, id, source string) (*Result, error) {
	cell, err := n.edit(id, source)
	if err != nil {
		return nil, err
	}
	if cell.Kind != CellCode {
		return &Result{}, nil
	}
	return n.run(ctx, id, nil)
}

func (n *notebook) edit(id, source string) (Cell, error) {
	if err := n.open(); err != nil {
		return Cell{}, fmt.Errorf("edit cell: %w", err)
	}
	if err := n.doc.SetSource(id, source); err != nil {
		return Cell{}, fmt.Errorf("edit cell %q: %w", id, ErrNotFound)
	}
	return n.cell(id)
}

// Cells returns copies of the notebook's cells, in order.
func (n *notebook) Cells() []Cell {
	cells := n.doc.Cells()
	list := make([]Cell, len(cells))
	for i, c := range cells {
		list[i] = fromCell(c)
	}
	return list
}

// Rerun says how the cells of the notebook that the session began with fared,
// when it resumed or forked one. nil otherwise.
func (n *notebook) Rerun() []CellResult { return slices.Clone(n.rerun) }

// Interrupt raises KeyboardInterrupt in the cell that runs, as Ctrl-C does.
func (n *notebook) Interrupt(ctx context.Context) error {
	if err := n.open(); err != nil {
		return fmt.Errorf("interrupt kernel: %w", err)
	}
	return n.failure(n.kernel.Interrupt(ctx))
}

// Restart replaces the kernel's process by a new one, also after it died, and
// prepares it as the session's beginning did: libraries, models, init code.
// All other variables are lost; the notebook stays as it is.
func (n *notebook) Restart(ctx context.Context) error {
	if err := n.open(); err != nil {
		return fmt.Errorf("restart kernel: %w", err)
	}
	if err := n.kernel.Restart(ctx); err != nil {
		return n.failure(err)
	}
	n.mu.Lock()
	environ, inits := maps.Clone(n.environ), slices.Clone(n.inits)
	n.mu.Unlock()
	if err := n.equip(ctx, environ); err != nil {
		return err
	}
	if _, err := n.loadModels(ctx, n.ExecHidden); err != nil {
		return err
	}
	return n.initialize(ctx, inits)
}

// populate fills a new kernel with what the workspace and the file bring.
func (n *notebook) populate(ctx context.Context, workspace *Workspace, file notebookFile) error {
	if err := n.adopt(ctx, workspace); err != nil {
		return err
	}
	load := n.ExecHidden
	if workspace != nil && workspace.ShowModelLoading && !file.old {
		load = n.Exec
	}
	var err error
	if n.loaded, err = n.loadModels(ctx, load); err != nil {
		return err
	}
	if err := n.adoptInit(ctx, workspace); err != nil {
		return err
	}
	if !file.old {
		return nil
	}
	return n.runAgain(ctx)
}

// extend applies another workspace to the place of the kernel, and gives the
// kernel what it brings.
func (n *notebook) extend(ctx context.Context, workspace *Workspace, p place) error {
	if err := n.open(); err != nil {
		return fmt.Errorf("set up workspace: %w", err)
	}
	if err := workspace.apply(ctx, p); err != nil {
		return err
	}
	if err := n.adopt(ctx, workspace); err != nil {
		return err
	}
	return n.adoptInit(ctx, workspace)
}

// adopt gives the kernel the variables of a workspace that was applied, now
// and after every Restart.
func (n *notebook) adopt(ctx context.Context, workspace *Workspace) error {
	environ := workspace.environ()
	n.mu.Lock()
	maps.Copy(n.environ, environ)
	n.mu.Unlock()
	return n.equip(ctx, environ)
}

// adoptInit runs the init code of a workspace, now and after every Restart.
func (n *notebook) adoptInit(ctx context.Context, workspace *Workspace) error {
	code := workspace.initCode()
	if code == "" {
		return nil
	}
	if err := n.initialize(ctx, []string{code}); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inits = append(n.inits, code)
	return nil
}

// equip lets the kernel find the libraries and their variables.
func (n *notebook) equip(ctx context.Context, environ map[string]string) error {
	settings, err := json.Marshal(map[string]any{"environ": environ, "libraries": n.home.libraries()})
	if err != nil {
		return err
	}
	if err := n.home.leave(ctx, "seer-kernel-"+n.kernel.ID()+".json", settings); err != nil {
		return fmt.Errorf("prepare kernel: %w", err)
	}
	if _, err := n.ExecHidden(ctx, prepareKernelScript); err != nil {
		return fmt.Errorf("prepare kernel: %w", err)
	}
	return nil
}

// loadModels puts the models into variables, and reports whether there are any.
func (n *notebook) loadModels(ctx context.Context, exec func(context.Context, string) (*Result, error)) (bool, error) {
	if n.models == nil {
		return false, nil
	}
	code, err := n.models(ctx)
	if err != nil || code == "" {
		return false, err
	}
	_, err = exec(ctx, code)
	var raised *KernelError
	switch {
	case errors.As(err, &raised) && raised.Name == "ModuleNotFoundError":
		return false, fmt.Errorf("load models: %w; list what loads them in PythonPackages, or set SkipModelPreload", err)
	case err != nil:
		return false, fmt.Errorf("load models: %w", err)
	}
	return true, nil
}

func (n *notebook) initialize(ctx context.Context, inits []string) error {
	for _, code := range inits {
		if _, err := n.ExecHidden(ctx, code); err != nil {
			return fmt.Errorf("run init code: %w", err)
		}
	}
	return nil
}

// run runs a cell of the notebook where it stands. OnText, if not nil, takes
// what the cell prints at once.
func (n *notebook) run(ctx context.Context, id string, onText func(string)) (*Result, error) {
	cell, err := n.cell(id)
	if err == nil {
		err = n.open()
	}
	if err != nil {
		return nil, fmt.Errorf("run cell: %w", err)
	}
	began, err := n.doc.Begin(id)
	if err != nil {
		return nil, err
	}
	take := func(o jupyter.Output) {
		if n.onOutput != nil {
			n.onOutput(cell, fromJupyter(o))
		}
	}
	result, err := n.kernel.Execute(ctx, cell.Source, &jupyter.ExecuteOptions{
		OnOutput: func(o jupyter.Output) {
			take(o)
			if onText != nil && o.Type == jupyter.OutputStream {
				onText(o.Text)
			}
		},
		OnLate:      take,
		Outputs:     began,
		OutputLimit: n.outputLimit,
	})
	if result != nil {
		began.Finish(result.ExecutionCount)
	}
	return fromKernel(result), n.failure(err)
}

// runAgain runs the code cells of a notebook that was there before. Exceptions
// do not stop it.
func (n *notebook) runAgain(ctx context.Context) error {
	for i, cell := range n.Cells() {
		if cell.Kind != CellCode {
			continue
		}
		_, err := n.run(ctx, cell.ID, nil)
		var raised *KernelError
		if err != nil && !errors.As(err, &raised) {
			return fmt.Errorf("run cell %d again: %w", i+1, err)
		}
		cell, _ = n.cell(cell.ID)
		n.rerun = append(n.rerun, CellResult{Cell: cell, Err: err})
	}
	return nil
}

func (n *notebook) cell(id string) (Cell, error) {
	c, ok := n.doc.Cell(id)
	if !ok {
		return Cell{}, fmt.Errorf("cell %q: %w", id, ErrNotFound)
	}
	return fromCell(c), nil
}

func (n *notebook) open() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errSessionClosed
	}
	return nil
}

// close ends the kernel once everything is saved. Only the first call does
// something.
func (n *notebook) close(ctx context.Context) error {
	n.mu.Lock()
	first := !n.closed
	n.closed = true
	n.mu.Unlock()
	if !first {
		return nil
	}
	ctx, cancel := withGrace(ctx, endTimeout)
	defer cancel()
	errs := []error{n.closeMCP()}
	if n.kernel != nil {
		err := n.kernel.Shutdown(ctx)
		if !errors.Is(err, jupyter.ErrUnauthorized) { // else another server runs, and the kernel ended with ours
			errs = append(errs, n.unlessEnded(err))
		}
	}
	for _, saver := range n.savers {
		errs = append(errs, n.unlessEnded(saver.Close(ctx)))
	}
	return errors.Join(errs...)
}

// unlessEnded leaves out errors that only say that the place is no more.
func (n *notebook) unlessEnded(err error) error {
	if n.home.ended() != nil {
		return nil
	}
	return err
}

// failure is what went wrong with a kernel as users match it.
func (n *notebook) failure(err error) error {
	var raised *jupyter.KernelError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &raised):
		return fromException(raised)
	case errors.Is(err, jupyter.ErrClosed):
		return fmt.Errorf("use kernel: %w", errSessionClosed)
	case errors.Is(err, jupyter.ErrKernelDied):
		return &translatedError{err: fmt.Errorf("%w; Restart gives a new one", err), as: ErrKernelDied}
	case errors.Is(err, jupyter.ErrKernelRestarted):
		return &translatedError{err: err, as: ErrKernelDied}
	case errors.Is(err, context.DeadlineExceeded):
		return &TimeoutError{Op: "run code", Err: err}
	}
	if ended := n.home.ended(); ended != nil {
		return fmt.Errorf("%w: %w", ended, err)
	}
	return err
}

func fromKernel(result *jupyter.Result) *Result {
	if result == nil {
		return nil
	}
	return &Result{Outputs: fromOutputs(result.Outputs), Incomplete: result.Incomplete, Omitted: result.Omitted}
}

func fromOutputs(list []jupyter.Output) []Output {
	var outputs []Output
	for _, o := range list {
		outputs = append(outputs, fromJupyter(o))
	}
	return outputs
}

func fromCell(c jupyter.Cell) Cell {
	return Cell{
		ID: c.ID, Kind: CellKind(c.Kind), Source: c.Source,
		Outputs: fromOutputs(c.Outputs), ExecutionCount: c.ExecutionCount,
	}
}

func fromException(e *jupyter.KernelError) *KernelError {
	raised := &KernelError{Name: e.Name, Value: e.Value}
	if len(e.Traceback) > 0 {
		raised.Traceback = e.Text()
	}
	return raised
}
