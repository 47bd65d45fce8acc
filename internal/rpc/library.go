package rpc

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Library returns the files of a Python package that calls a service's
// functions, by path inside the package: standard library only, Python 3.9 and
// newer. It knows neither address nor token; see [LibraryEnv].
//
// A coroutine becomes a plain function and a generator streams. A type that
// the package cannot import is Any to a type checker and a string to help().
func Library(name string, functions []Function) (map[string]string, error) {
	if !isIdentifier(name) || !isASCII(name) {
		return nil, fmt.Errorf("write library: %q is not a name that Python can import", name)
	}
	client, err := python.ReadFile("python/client.py")
	if err != nil {
		return nil, fmt.Errorf("write library %s: %w", name, err)
	}
	values, err := python.ReadFile("python/seer_rpc/values.py")
	if err != nil {
		return nil, fmt.Errorf("write library %s: %w", name, err)
	}
	source, err := librarySource(name, functions)
	if err != nil {
		return nil, fmt.Errorf("write library %s: %w", name, err)
	}
	return map[string]string{
		"__init__.py":     source,
		"_seer_client.py": string(client),
		"_seer_values.py": string(values),
		"py.typed":        "",
	}, nil
}

// LibraryEnv returns the variables from which a library learns where its
// service is. They hold its token.
func LibraryEnv(name, serviceURL, token string) map[string]string {
	prefix := "SEER_RPC_" + strings.ToUpper(name)
	return map[string]string{prefix + "_URL": serviceURL, prefix + "_TOKEN": token}
}

// IsServiceURL reports whether a variable is one from which a library learns
// its service's URL.
func IsServiceURL(variable string) bool {
	return strings.HasPrefix(variable, "SEER_RPC_") && strings.HasSuffix(variable, "_URL")
}

// TokenVariable is the variable that holds the token for the service whose URL
// another one holds.
func TokenVariable(urlVariable string) string {
	return strings.TrimSuffix(urlVariable, "_URL") + "_TOKEN"
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r > '~' })
}

func librarySource(name string, functions []Function) (string, error) {
	s := &scope{taken: map[string]bool{}, imports: map[string]bool{}}
	var names []string
	for _, function := range functions {
		if !isIdentifier(function.Name) || strings.HasPrefix(function.Name, "_seer") || s.taken[function.Name] {
			return "", fmt.Errorf("function %q: not a name of its own", function.Name)
		}
		s.taken[function.Name] = true
		names = append(names, pyString(function.Name))
	}
	var body strings.Builder
	for _, function := range functions {
		source, err := s.function(function)
		if err != nil {
			return "", fmt.Errorf("function %s: %w", function.Name, err)
		}
		body.WriteString("\n\n" + source)
	}
	errorName := "RemoteError"
	if !s.taken[errorName] {
		names = append(names, pyString(errorName))
		s.imports["from ._seer_client import RemoteError"] = true
	}
	var out strings.Builder
	out.WriteString(pyDocstring("Functions of the service "+name+", which run in its sandbox.", ""))
	out.WriteByte('\n')
	for _, line := range slices.SortedFunc(maps.Keys(s.imports), importOrder) {
		out.WriteString(line + "\n")
	}
	out.WriteString("from ._seer_client import Service as _seer_Service, default as _seer_default\n\n")
	out.WriteString("_seer_service = _seer_Service(" + pyString(name) + ")\n\n")
	out.WriteString("__all__ = [" + strings.Join(names, ", ") + "]\n")
	out.WriteString(body.String())
	return out.String(), nil
}

// importOrder puts the standard library before the package's own modules.
func importOrder(a, b string) int {
	rank := func(line string) string {
		switch {
		case strings.HasPrefix(line, "import "):
			return "0" + line
		case strings.HasPrefix(line, "from ."):
			return "2" + line
		}
		return "1" + line
	}
	return strings.Compare(rank(a), rank(b))
}

// function writes a stub with the function's signature. What makes it call the
// service sees which arguments were given, and sends no others: a default is
// the service's own business.
func (s *scope) function(f Function) (string, error) {
	shown := map[string]string{}
	head, err := s.parameters(f, shown)
	if err != nil {
		return "", err
	}
	result, how := s.annotation(f.Returns.Type), "call"
	switch {
	case f.Stream:
		result, how = s.typing("Iterator")+"["+result+"]", "stream"
		if f.Eager {
			how = "open"
		}
	case !f.Returns.Type.exact():
		shown["return"] = f.Returns.Annotation
	}
	arguments := pyString(how)
	if len(shown) > 0 {
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(shown)) {
			pairs = append(pairs, pyString(name)+": "+pyString(shown[name]))
		}
		arguments += ", {" + strings.Join(pairs, ", ") + "}"
	}
	var out strings.Builder
	fmt.Fprintf(&out, "@_seer_service.function(%s)\ndef %s(%s) -> %s:\n", arguments, f.Name, strings.Join(head, ", "), result)
	if f.Doc != "" {
		out.WriteString(pyDocstring(f.Doc, "    "))
	}
	fmt.Fprintf(&out, "    raise %s\n", s.builtin("NotImplementedError"))
	return out.String(), nil
}

// parameters writes a function's parameters, and notes in shown what help()
// shall print where the type could not be spelled.
func (s *scope) parameters(f Function, shown map[string]string) ([]string, error) {
	var parts []string
	var last Kind
	for _, p := range f.Parameters {
		if !isIdentifier(p.Name) || strings.HasPrefix(p.Name, "_seer") {
			return nil, fmt.Errorf("parameter %q: not a name", p.Name)
		}
		if last == PositionalOnly && p.Kind != PositionalOnly {
			parts = append(parts, "/")
		}
		if p.Kind == KeywordOnly && last != KeywordOnly && last != VarPositional {
			parts = append(parts, "*")
		}
		source, err := s.parameter(p, shown)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", p.Name, err)
		}
		parts = append(parts, source)
		last = p.Kind
	}
	if last == PositionalOnly {
		parts = append(parts, "/")
	}
	return parts, nil
}

func (s *scope) parameter(p Parameter, shown map[string]string) (string, error) {
	name := p.Name
	switch p.Kind {
	case PositionalOnly, PositionalOrKeyword, KeywordOnly:
	case VarPositional:
		name = "*" + name
	case VarKeyword:
		name = "**" + name
	default:
		return "", fmt.Errorf("unknown kind %q", p.Kind)
	}
	t, value := p.Type, ""
	if p.Default != nil {
		var err error
		if t, value, err = s.defaulted(t, *p.Default); err != nil {
			return "", err
		}
		value = " = " + value
	}
	if !t.exact() && p.Annotation != "" {
		shown[p.Name] = p.Annotation
	}
	return name + ": " + s.annotation(t) + value, nil
}

// defaulted returns the source of a default, and the type widened to hold it:
// authors write `x: int = None`, which a type checker would refuse.
func (s *scope) defaulted(t Type, d Default) (Type, string, error) {
	if !d.Literal {
		return t, "_seer_default(" + pyString(d.Text) + ")", nil
	}
	source, err := s.literal(d.Value)
	if err != nil {
		return t, "", err
	}
	var tree any
	decoder := json.NewDecoder(strings.NewReader(string(d.Value)))
	decoder.UseNumber()
	if err := decoder.Decode(&tree); err != nil {
		return t, "", fmt.Errorf("read default: %w", err)
	}
	switch {
	case t.accepts(tree):
	case tree == nil:
		t = Type{Name: "Union", Args: []Type{t, {Name: "None"}}}
	default:
		t = Type{Name: "Any", Inexact: true}
	}
	return t, source, nil
}

// accepts says whether a type checker takes a literal for a type. In doubt it
// does not.
func (t Type) accepts(tree any) bool {
	switch t.Name {
	case "Any", "object":
		return true
	case "None":
		return tree == nil
	case "Union":
		return slices.ContainsFunc(t.Args, func(arg Type) bool { return arg.accepts(tree) })
	case "Literal":
		given, err := json.Marshal(tree)
		return err == nil && slices.ContainsFunc(t.Values, func(value Value) bool { return string(value) == string(given) })
	}
	switch tree := tree.(type) {
	case bool:
		return t.Name == "bool" || t.Name == "int" || t.Name == "float" || t.Name == "complex"
	case string:
		return t.Name == "str"
	case json.Number:
		whole := !strings.ContainsAny(tree.String(), ".eE")
		return t.Name == "float" || t.Name == "complex" || whole && t.Name == "int"
	case []any:
		return t.Name == "list" && t.acceptsItems(tree)
	case map[string]any:
		return t.acceptsObject(tree)
	}
	return false
}

func (t Type) acceptsItems(items []any) bool {
	for _, item := range items {
		if len(t.Args) > 0 && !t.Args[0].accepts(item) {
			return false
		}
	}
	return true
}

func (t Type) acceptsObject(tree map[string]any) bool {
	for name, body := range tree {
		if len(tree) > 1 || !strings.HasPrefix(name, "$") {
			break
		}
		list, _ := body.([]any)
		switch name {
		case "$float", "$complex":
			return t.Name == "complex" || name == "$float" && t.Name == "float"
		case "$bytes":
			return t.Name == "bytes"
		case "$set", "$frozenset":
			return t.Name == name[1:] && t.acceptsItems(list)
		case "$tuple":
			return t.acceptsTuple(list)
		}
		return false
	}
	if t.Name != "dict" {
		return false
	}
	for _, item := range tree {
		if len(t.Args) == 2 && (!t.Args[0].accepts("") || !t.Args[1].accepts(item)) {
			return false
		}
	}
	return true
}

func (t Type) acceptsTuple(items []any) bool {
	switch {
	case t.Name != "tuple":
		return false
	case t.Variadic || len(t.Args) == 0:
		return t.acceptsItems(items)
	case len(t.Args) != len(items):
		return false
	}
	for i, item := range items {
		if !t.Args[i].accepts(item) {
			return false
		}
	}
	return true
}
