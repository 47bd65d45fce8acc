package rpc

import "encoding/json"

// Description is what a service offers.
type Description struct {
	Name string `json:"name"`
	// State is "ready", "restarting" (its process ended and is loading again)
	// or "failed".
	State     string     `json:"state"`
	Functions []Function `json:"functions"`
}

// Function is one exposed function.
type Function struct {
	Name string `json:"name"`
	// Doc is the docstring without its indentation, or "".
	Doc string `json:"doc"`
	// Signature is the parameters and the result as Python shows them:
	// "(text: str, *, scale: float = 1.0) -> list[float]".
	Signature string `json:"signature"`
	// Async says that it is a coroutine or an async generator.
	Async bool `json:"async"`
	// Stream says that it yields items, which come one by one.
	Stream bool `json:"stream"`
	// Eager says of a stream that it begins with the call and not with the
	// first item, and that what is no iterator in the end comes as it is: a
	// decorator may have joined the items.
	Eager bool `json:"eager"`
	// Serial says that its calls run one at a time.
	Serial     bool        `json:"serial"`
	Parameters []Parameter `json:"parameters"`
	Returns    Returns     `json:"returns"`
	// InputSchema is the JSON Schema of the object of arguments.
	InputSchema json.RawMessage `json:"input_schema"`
	// OutputSchema is the JSON Schema of the result in plain JSON; of the list
	// of all items if the function streams.
	OutputSchema json.RawMessage `json:"output_schema"`
}

// Kind is how a parameter takes its argument.
type Kind string

// The kinds of Python's parameters.
const (
	PositionalOnly      Kind = "positional_only"
	PositionalOrKeyword Kind = "positional_or_keyword"
	VarPositional       Kind = "var_positional" // *args: a list under its name
	KeywordOnly         Kind = "keyword_only"
	VarKeyword          Kind = "var_keyword" // **kwargs: an object under its name
)

// Parameter is one parameter of a function.
type Parameter struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Annotation is the type as its author wrote it, or "".
	Annotation string `json:"annotation"`
	Type       Type   `json:"type"`
	Required   bool   `json:"required"`
	// Default is nil if there is none.
	Default *Default `json:"default,omitempty"`
	// Schema is the parameter's JSON Schema; references point into the $defs
	// of the function's InputSchema.
	Schema json.RawMessage `json:"schema"`
}

// Returns is the result of a function.
type Returns struct {
	// Annotation is the type as its author wrote it, or "".
	Annotation string `json:"annotation"`
	// Type is that of an item, if the function streams.
	Type Type `json:"type"`
}

// Default is the default value of a parameter: one that a library can write
// down, or one that only the service has.
type Default struct {
	Literal bool `json:"literal"`
	// Value is the tagged JSON of a literal.
	Value Value `json:"value,omitempty"`
	// Text is how Python shows a value that is no literal.
	Text string `json:"text,omitempty"`
}

// Type is an annotation in terms that need only Python's standard library.
type Type struct {
	Name string `json:"name"`
	Args []Type `json:"args,omitempty"`
	// Variadic marks tuple[T, ...].
	Variadic bool `json:"variadic,omitempty"`
	// Values are the tagged JSON of a Literal's values.
	Values []Value `json:"values,omitempty"`
	// Inexact marks a type that stands for one that could not be spelled.
	Inexact bool `json:"inexact,omitempty"`
}

func (t Type) exact() bool {
	if t.Inexact {
		return false
	}
	for _, arg := range t.Args {
		if !arg.exact() {
			return false
		}
	}
	return true
}
