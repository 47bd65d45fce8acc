package jupyter

import (
	"encoding/json"
	"fmt"
	"regexp"
)

type notebookFile struct {
	Cells       []cellFile      `json:"cells"`
	Metadata    json.RawMessage `json:"metadata"`
	Format      int             `json:"nbformat"`
	FormatMinor int             `json:"nbformat_minor"`
}

type cellFile struct {
	ID             string            `json:"id"`
	Kind           CellKind          `json:"cell_type"`
	Source         json.RawMessage   `json:"source"`
	Metadata       json.RawMessage   `json:"metadata"`
	Attachments    json.RawMessage   `json:"attachments"`
	ExecutionCount *int              `json:"execution_count"`
	Outputs        []json.RawMessage `json:"outputs"`
}

var validCellID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)

// ParseNotebook reads the content of an .ipynb file of nbformat 4. Cells
// without a valid id of their own get one.
func ParseNotebook(data []byte) (*Notebook, error) {
	var file notebookFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("parse notebook: %w", err)
	}
	if file.Format != 4 {
		return nil, fmt.Errorf("parse notebook: nbformat %d is not supported, want 4", file.Format)
	}
	n := &Notebook{metadata: objectOr(file.Metadata, emptyObject), byID: make(map[string]*cell)}
	for i := range file.Cells {
		c, err := file.Cells[i].parse()
		if err != nil {
			return nil, fmt.Errorf("parse notebook: cell %d: %w", i+1, err)
		}
		if !validCellID.MatchString(c.id) || n.byID[c.id] != nil {
			c.id = n.newCellID()
		}
		n.insert(c)
	}
	return n, nil
}

func (f *cellFile) parse() (*cell, error) {
	switch f.Kind {
	case CellCode, CellMarkdown, CellRaw:
	default:
		return nil, fmt.Errorf("unknown type %q", f.Kind)
	}
	source, err := joinText(f.Source)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	c := &cell{id: f.ID, kind: f.Kind, source: source, metadata: objectOr(f.Metadata, emptyObject), outputs: NewOutputs(0)}
	if f.Kind != CellCode {
		c.attachments = objectOr(f.Attachments, nil)
		return c, nil
	}
	if f.ExecutionCount != nil {
		c.count = max(*f.ExecutionCount, 0)
	}
	for i, raw := range f.Outputs {
		o, err := parseOutput(raw)
		if err != nil {
			return nil, fmt.Errorf("output %d: %w", i+1, err)
		}
		c.outputs.Add(o)
	}
	return c, nil
}

func parseOutput(raw json.RawMessage) (Output, error) {
	var kind struct {
		Type string `json:"output_type"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return Output{}, err
	}
	switch OutputType(kind.Type) {
	case OutputStream, OutputResult, OutputDisplay, OutputError:
		return decodeOutput(kind.Type, raw)
	}
	return Output{}, fmt.Errorf("unknown type %q", kind.Type)
}
