package mcpserver

import (
	"context"
	"io/fs"
)

// Tools are what a server offers. A nil interface offers nothing.
type Tools struct {
	Notebook  Notebook
	Python    Python
	Shell     Shell
	Files     Files
	Functions Functions
	Fleet     Fleet
}

// Outcome is what code or a command showed.
type Outcome struct {
	Text   string // as a person would read it, errors included
	Images []Image
	Failed bool // it ran and did not succeed
}

// Image is a picture.
type Image struct {
	MIME string // such as "image/png"
	Data []byte
}

// Cell is a cell of a notebook.
type Cell struct {
	ID     string
	Kind   string // "code" or "markdown"
	Source string
	Outcome
}

// Notebook is a notebook with a running kernel. Output, never nil, takes text
// while a cell prints it. An error means that the notebook could not do what
// was asked; a cell that raises is a Failed outcome.
type Notebook interface {
	ExecuteCell(ctx context.Context, source string, output func(text string)) (Cell, error)
	AddMarkdown(ctx context.Context, source string) (Cell, error)
	// EditCell replaces a cell's source and, if run is set, executes it in its place.
	EditCell(ctx context.Context, id, source string, run bool, output func(text string)) (Cell, error)
	Interrupt(ctx context.Context) error
	Restart(ctx context.Context) error
	Cells(ctx context.Context) ([]Cell, error)
}

// Python is an interpreter whose variables stay from call to call.
type Python interface {
	RunPython(ctx context.Context, code string, output func(text string)) (Outcome, error)
	Interrupt(ctx context.Context) error
	Restart(ctx context.Context) error
}

// Shell runs commands.
type Shell interface {
	RunCommand(ctx context.Context, command string, output func(text string)) (Outcome, error)
}

// Files is a file system. Relative paths start at the workspace directory.
type Files interface {
	ReadFile(ctx context.Context, path string) ([]byte, error)
	WriteFile(ctx context.Context, path string, data []byte) error
	ListFiles(ctx context.Context, path string) ([]fs.FileInfo, error)
	// Upload copies a file or directory of the machine where the server runs.
	Upload(ctx context.Context, source, path string) error
}
