package jupyter

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// CellKind says what a cell of a notebook holds.
type CellKind string

// The kinds of cells.
const (
	CellCode     CellKind = "code"
	CellMarkdown CellKind = "markdown"
	CellRaw      CellKind = "raw"
)

// Cell is a copy of one cell of a [Notebook].
type Cell struct {
	ID             string
	Kind           CellKind
	Source         string
	Outputs        []Output // of a code cell
	ExecutionCount int      // of a code cell; zero until it ended
}

// KernelSpec is what a notebook says about its kernel. Zero fields mean
// Python 3.
type KernelSpec struct {
	Name        string `json:"name"`
	DisplayName string `json:"display_name"`
	Language    string `json:"language"`
}

// Notebook is a document of the format nbformat 4.5 in memory. Encoding it
// costs a copy of what has not changed since the last time and the encoding of
// what has, down to the chunk of a stream.
type Notebook struct {
	mu       sync.Mutex
	cells    []*cell
	byID     map[string]*cell
	metadata json.RawMessage
	limit    int64 // of the outputs of a cell that runs
	version  uint64
	watchers []chan struct{}
}

// cell is the live form of a Cell. The notebook's lock guards it.
type cell struct {
	id          string
	kind        CellKind
	source      string
	count       int
	metadata    json.RawMessage
	attachments json.RawMessage // nil if there are none
	outputs     *Outputs
	run         *Run   // the latest; nil if it never ran
	encoded     []byte // nil when it has changed
}

// NewNotebook returns an empty notebook.
func NewNotebook(spec KernelSpec) (*Notebook, error) {
	if spec.Name == "" {
		spec.Name = "python3"
	}
	if spec.DisplayName == "" {
		spec.DisplayName = "Python 3"
	}
	if spec.Language == "" {
		spec.Language = "python"
	}
	metadata, err := json.Marshal(map[string]any{
		"kernelspec":    spec,
		"language_info": map[string]string{"name": spec.Language},
	})
	if err != nil {
		return nil, fmt.Errorf("new notebook: %w", err)
	}
	return &Notebook{metadata: metadata, byID: make(map[string]*cell)}, nil
}

// LimitOutputs bounds what the cells that run from now on keep of what they
// show, in bytes each: the beginning and the end of more. 0 means
// [DefaultOutputLimit].
func (n *Notebook) LimitOutputs(bytes int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.limit = bytes
}

// AddCode appends a code cell and returns its id.
func (n *Notebook) AddCode(source string) string { return n.add(CellCode, source) }

// AddMarkdown appends a text cell and returns its id.
func (n *Notebook) AddMarkdown(source string) string { return n.add(CellMarkdown, source) }

func (n *Notebook) add(kind CellKind, source string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &cell{id: n.newCellID(), kind: kind, source: source, metadata: emptyObject, outputs: NewOutputs(0)}
	n.insert(c)
	n.touch(c)
	return c.id
}

func (n *Notebook) insert(c *cell) {
	n.cells = append(n.cells, c)
	n.byID[c.id] = c
}

// newCellID returns an id that no cell of the notebook has. It begins with a
// letter: some clients of tools take 12345678 and 2461e227 for numbers.
func (n *Notebook) newCellID() string {
	for {
		var b [4]byte
		rand.Read(b[:])
		id := "c" + hex.EncodeToString(b[:])
		if n.byID[id] == nil {
			return id
		}
	}
}

// SetSource replaces the text of a cell.
func (n *Notebook) SetSource(id, source string) error {
	return n.change(id, func(c *cell) { c.source = source })
}

// Run is one run of a code cell. What it shows is the cell's until another run
// of the cell begins.
type Run struct {
	notebook *Notebook
	cell     *cell
	outputs  *Outputs // the cell's as well, while it is the latest run
}

// Begin clears the outputs and the number of a code cell that is about to run.
func (n *Notebook) Begin(id string) (*Run, error) {
	r := &Run{notebook: n}
	err := n.change(id, func(c *cell) {
		r.cell, r.outputs = c, NewOutputs(cmp.Or(n.limit, DefaultOutputLimit))
		c.count, c.outputs, c.run = 0, r.outputs, r
	})
	return r, err
}

// Add adds an output as it arrives. An update of a display changes every cell
// that shows it.
func (r *Run) Add(o Output) bool {
	n := r.notebook
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := r.outputs.Add(o)
	if changed && r.cell.run == r {
		n.touch(r.cell)
	}
	if o.Type != OutputUpdateDisplay {
		return changed
	}
	for _, c := range n.cells {
		if c.outputs != r.outputs && c.outputs.Add(o) {
			n.touch(c)
			changed = true
		}
	}
	return changed
}

// List returns what the run has shown.
func (r *Run) List() []Output {
	r.notebook.mu.Lock()
	defer r.notebook.mu.Unlock()
	return r.outputs.List()
}

// Omitted is how many bytes of that have been left out.
func (r *Run) Omitted() int64 {
	r.notebook.mu.Lock()
	defer r.notebook.mu.Unlock()
	return r.outputs.Omitted()
}

// Free is how many bytes fit before something is left out.
func (r *Run) Free() int64 {
	r.notebook.mu.Lock()
	defer r.notebook.mu.Unlock()
	return r.outputs.Free()
}

// Finish sets the number of the cell that has run.
func (r *Run) Finish(executionCount int) {
	n := r.notebook
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.cell.run == r {
		r.cell.count = executionCount
		n.touch(r.cell)
	}
}

func (n *Notebook) change(id string, f func(*cell)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.byID[id]
	if c == nil {
		return fmt.Errorf("change cell: no cell %q", id)
	}
	f(c)
	n.touch(c)
	return nil
}

// touch notes that c has changed and wakes the savers. The caller holds mu.
func (n *Notebook) touch(c *cell) {
	c.encoded = nil
	n.version++
	for _, w := range n.watchers {
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// Cells returns copies of all cells in order.
func (n *Notebook) Cells() []Cell {
	n.mu.Lock()
	defer n.mu.Unlock()
	cells := make([]Cell, len(n.cells))
	for i, c := range n.cells {
		cells[i] = c.view()
	}
	return cells
}

// Cell returns a copy of one cell.
func (n *Notebook) Cell(id string) (Cell, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.byID[id]
	if c == nil {
		return Cell{}, false
	}
	return c.view(), true
}

func (c *cell) view() Cell {
	return Cell{
		ID:             c.id,
		Kind:           c.kind,
		Source:         c.source,
		Outputs:        c.outputs.List(),
		ExecutionCount: c.count,
	}
}

// watch returns a channel that is filled after changes, and a function that
// ends it.
func (n *Notebook) watch() (changes <-chan struct{}, stop func()) {
	w := make(chan struct{}, 1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.watchers = append(n.watchers, w)
	return w, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.watchers = slices.DeleteFunc(n.watchers, func(other chan struct{}) bool { return other == w })
	}
}

func (n *Notebook) currentVersion() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.version
}
