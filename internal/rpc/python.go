package rpc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// What is written into a library is built from names, types and values that
// are checked here one by one: a description comes from a sandbox, and the
// library runs where the agent's session runs.

var keywords = strings.Fields(`False None True and as assert async await break class continue def del elif else
	except finally for from global if import in is lambda nonlocal not or pass raise return try while with yield`)

// isIdentifier also wants names in the form to which Python brings them: of two
// that look different one could be the other's there.
func isIdentifier(name string) bool {
	if !norm.NFKC.IsNormalString(name) {
		return false
	}
	for i, r := range name {
		starts := r == '_' || unicode.In(r, unicode.L, unicode.Nl)
		if !starts && (i == 0 || !unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc)) {
			return false
		}
	}
	return name != "" && !slices.Contains(keywords, name)
}

// pyString returns a Python literal of a text: JSON's, which Python reads alike.
func pyString(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		return `""` // a string always marshals
	}
	return strings.ReplaceAll(string(quoted), "\u007f", `\u007f`)
}

// pyDocstring returns the docstring of a function, laid out as people write
// one wherever its text allows.
func pyDocstring(doc, indent string) string {
	plain := !strings.Contains(doc, `"""`) && !strings.HasSuffix(doc, `"`) && !strings.Contains(doc, `\`)
	for _, r := range doc {
		plain = plain && (r == '\n' || r >= ' ' && unicode.IsPrint(r))
	}
	if !plain {
		return indent + pyString(doc) + "\n"
	}
	lines := strings.Split(doc, "\n")
	for i := 1; i < len(lines); i++ {
		if lines[i] != "" {
			lines[i] = indent + lines[i]
		}
	}
	closing := `"""`
	if len(lines) > 1 {
		closing = "\n" + indent + `"""`
	}
	return indent + `"""` + strings.Join(lines, "\n") + closing + "\n"
}

// scope knows which names the exposed functions take, and collects imports.
type scope struct {
	taken   map[string]bool
	imports map[string]bool
}

var builtinTypes = map[string]string{
	"int": "int", "float": "float", "str": "str", "bool": "bool", "bytes": "bytes", "complex": "complex", "object": "object",
	"list": "list", "dict": "dict", "tuple": "tuple", "set": "set", "frozenset": "frozenset",
}

var libraryTypes = map[string]string{
	"datetime.datetime": "datetime", "datetime.date": "datetime", "datetime.time": "datetime",
	"datetime.timedelta": "datetime", "decimal.Decimal": "decimal", "uuid.UUID": "uuid", "pathlib.Path": "pathlib",
}

// missingArgs completes containers whose annotation names no element type.
var missingArgs = map[string]string{
	"list": "[%s]", "set": "[%s]", "frozenset": "[%s]", "dict": "[%[1]s, %[1]s]", "tuple": "[%s, ...]",
}

// builtin spells a builtin, also if an exposed function has its name.
func (s *scope) builtin(name string) string {
	if s.taken[name] {
		s.imports["import builtins as _seer_builtins"] = true
		return "_seer_builtins." + name
	}
	return name
}

func (s *scope) typing(name string) string {
	if s.taken[name] {
		s.imports["import typing as _seer_typing"] = true
		return "_seer_typing." + name
	}
	s.imports["from typing import "+name] = true
	return name
}

func (s *scope) module(name string) string {
	if s.taken[name] {
		s.imports["import "+name+" as _seer_"+name] = true
		return "_seer_" + name
	}
	s.imports["import "+name] = true
	return name
}

// annotation spells a type; what is unknown is Any.
func (s *scope) annotation(t Type) string {
	args := make([]string, len(t.Args))
	for i, arg := range t.Args {
		args[i] = s.annotation(arg)
	}
	switch {
	case t.Name == "None":
		return "None"
	case t.Name == "Union" && len(args) > 0:
		return s.union(args)
	case t.Name == "Literal" && len(t.Values) > 0:
		values := make([]string, len(t.Values))
		for i, value := range t.Values {
			literal, err := s.literal(value)
			if err != nil {
				return s.typing("Any")
			}
			values[i] = literal
		}
		return s.typing("Literal") + "[" + strings.Join(values, ", ") + "]"
	case libraryTypes[t.Name] != "":
		module := libraryTypes[t.Name]
		return s.module(module) + strings.TrimPrefix(t.Name, module)
	case builtinTypes[t.Name] == "":
		return s.typing("Any")
	}
	name := s.builtin(t.Name)
	switch layout := missingArgs[t.Name]; {
	case layout == "":
		return name
	case len(args) == 0:
		return name + fmt.Sprintf(layout, s.typing("Any"))
	case t.Variadic:
		return name + "[" + args[0] + ", ...]"
	}
	return name + "[" + strings.Join(args, ", ") + "]"
}

func (s *scope) union(args []string) string {
	var members []string
	optional := false
	for _, arg := range args {
		if arg == "None" {
			optional = true
		} else {
			members = append(members, arg)
		}
	}
	if len(members) == 0 {
		return "None"
	}
	joined := strings.Join(members, ", ")
	if len(members) > 1 {
		joined = s.typing("Union") + "[" + joined + "]"
	}
	if optional {
		joined = s.typing("Optional") + "[" + joined + "]"
	}
	return joined
}

// literal writes a tagged value as Python source.
func (s *scope) literal(value Value) (string, error) {
	decoder := json.NewDecoder(strings.NewReader(string(value)))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return "", fmt.Errorf("read literal: %w", err)
	}
	return s.source(tree)
}

func (s *scope) source(tree any) (string, error) {
	switch tree := tree.(type) {
	case nil:
		return "None", nil
	case bool:
		if tree {
			return "True", nil
		}
		return "False", nil
	case string:
		return pyString(tree), nil
	case json.Number:
		return tree.String(), nil
	case []any:
		return s.sequence("[", tree, "]")
	case map[string]any:
		for name, body := range tree {
			if len(tree) == 1 && strings.HasPrefix(name, "$") {
				return s.tagged(name, body)
			}
		}
		return s.object(tree)
	}
	return "", fmt.Errorf("write literal: unexpected %T", tree)
}

func (s *scope) tagged(name string, body any) (string, error) {
	list, _ := body.([]any)
	text, _ := body.(string)
	switch name {
	case "$float":
		switch text {
		case "nan", "inf", "-inf":
			return s.builtin("float") + `("` + text + `")`, nil
		}
	case "$bytes":
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return "", fmt.Errorf("write literal: %w", err)
		}
		return pyBytes(data), nil
	case "$tuple":
		if len(list) == 1 {
			return s.sequence("(", list, ",)")
		}
		return s.sequence("(", list, ")")
	case "$set":
		return s.sequence(s.builtin("set")+"([", list, "])")
	case "$frozenset":
		return s.sequence(s.builtin("frozenset")+"([", list, "])")
	case "$complex":
		return s.sequence(s.builtin("complex")+"(", list, ")")
	case "$dict":
		return s.pairs(list)
	}
	return "", fmt.Errorf("write literal: unexpected %q", name)
}

func (s *scope) sequence(open string, list []any, end string) (string, error) {
	parts := make([]string, len(list))
	for i, item := range list {
		part, err := s.source(item)
		if err != nil {
			return "", err
		}
		parts[i] = part
	}
	return open + strings.Join(parts, ", ") + end, nil
}

func (s *scope) pairs(list []any) (string, error) {
	parts := make([]string, len(list))
	for i, item := range list {
		pair, ok := item.([]any)
		if !ok || len(pair) != 2 {
			return "", errors.New("write literal: malformed dict")
		}
		key, err := s.source(pair[0])
		if err != nil {
			return "", err
		}
		value, err := s.source(pair[1])
		if err != nil {
			return "", err
		}
		parts[i] = key + ": " + value
	}
	return "{" + strings.Join(parts, ", ") + "}", nil
}

func (s *scope) object(tree map[string]any) (string, error) {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		part, err := s.source(tree[name])
		if err != nil {
			return "", err
		}
		parts = append(parts, pyString(name)+": "+part)
	}
	return "{" + strings.Join(parts, ", ") + "}", nil
}

var unprintable = regexp.MustCompile(`[^ -~]|["\\]`)

func pyBytes(data []byte) string {
	runes := make([]rune, len(data)) // one rune a byte, so that the expression sees bytes
	for i, b := range data {
		runes[i] = rune(b)
	}
	return `b"` + unprintable.ReplaceAllStringFunc(string(runes), func(one string) string {
		return `\x` + strconv.FormatInt(int64(0x100|[]rune(one)[0]), 16)[1:]
	}) + `"`
}
