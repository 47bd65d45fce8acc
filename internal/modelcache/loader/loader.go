// Package loader makes the code that loads models in a sandbox's interpreter
// or notebook kernel. The code never changes; which models it loads, a table
// tells it, so that no string of a user becomes part of a program.
package loader

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
)

// TablePath is where [Script] looks for the table unless the environment
// variable SEER_MODEL_TABLE names another file, or "-" for stdin. Only the
// sandbox's own user should be able to read it (mode 0600).
const TablePath = "/run/seer/models.json"

// ScriptPath is where a sandbox keeps [Script] for agents that load their
// models themselves.
const ScriptPath = "/run/seer/load_models.py"

//go:embed loader.py
var script string

// Script returns the Python code that loads all models of the table and sets
// their variables. It needs torch and transformers, peft for adapters, and
// accelerate where there is a GPU.
func Script() string { return script }

// Model is one model to load.
type Model struct {
	Var     string // name of the variable; "" = "model"
	Path    string // directory of the model; of the base model for an adapter
	Adapter string // directory of the PEFT adapter; "" = none
	AsPEFT  bool   // wrap a model that has no adapter in one that changes nothing, so that it looks as if it had one
}

// TokenizerVar is the name of the variable for the model's tokenizer:
// "tokenizer" beside "model", "x_tokenizer" beside any other x. It is None
// when a model has no tokenizer.
func (m Model) TokenizerVar() string {
	if m.name() == "model" {
		return "tokenizer"
	}
	return m.name() + "_tokenizer"
}

func (m Model) name() string {
	if m.Var == "" {
		return "model"
	}
	return m.Var
}

var (
	identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	keywords   = []string{
		"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
		"elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
		"not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
	}
)

type row struct {
	Var          string  `json:"var"`
	TokenizerVar string  `json:"tokenizer_var"`
	Path         string  `json:"path"`
	Adapter      *string `json:"adapter"`
	AsPEFT       bool    `json:"as_peft"`
}

// Table returns what the script loads, as JSON. A base that several models
// name is loaded once. It is an error when a variable's name is no Python name
// or is taken twice.
func Table(models []Model) ([]byte, error) {
	rows := make([]row, 0, len(models))
	var taken []string
	for _, m := range models {
		for _, name := range []string{m.name(), m.TokenizerVar()} {
			switch {
			case !identifier.MatchString(name) || slices.Contains(keywords, name):
				return nil, fmt.Errorf("load model: %q cannot be the name of a variable", name)
			case slices.Contains(taken, name):
				return nil, fmt.Errorf("load model: the variable %q is taken by another model", name)
			}
			taken = append(taken, name)
		}
		r := row{Var: m.name(), TokenizerVar: m.TokenizerVar(), Path: m.Path, AsPEFT: m.AsPEFT}
		if m.Adapter != "" {
			r.Adapter = &m.Adapter
		}
		rows = append(rows, r)
	}
	table, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode table of models: %w", err)
	}
	return append(table, '\n'), nil
}
