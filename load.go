package seer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// LoadConfig reads a config from a .yaml, .yml or .json file. Keys are the
// field names in snake_case; unknown ones are errors, as are values of the
// wrong kind: a *[ConfigError] names each with its line. Relative paths in it
// start at the working directory, as in a config written in Go.
//
// The config is not validated: [SandboxConfig.Validate] does that, and Start.
func LoadConfig(path string) (SandboxConfig, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return SandboxConfig{}, fmt.Errorf("load config: %w", err)
	}
	var root *yaml.Node
	switch extension := strings.ToLower(filepath.Ext(path)); extension {
	case ".yaml", ".yml":
		root, err = parseYAML(data)
	case ".json":
		root, err = parseJSON(data)
	default:
		return SandboxConfig{}, fmt.Errorf("load config %s: extension %q is none of .yaml, .yml and .json", path, extension)
	}
	var config SandboxConfig
	if err == nil {
		config, err = decodeConfig(root)
	}
	if err != nil {
		return SandboxConfig{}, atFile(path, err)
	}
	return config, nil
}

// atFile says which file a *ConfigError is about.
func atFile(path string, err error) error {
	var invalid *ConfigError
	if errors.As(err, &invalid) {
		invalid.File = path
		return invalid
	}
	return fmt.Errorf("load config %s: %w", path, err)
}

// decodeConfig makes a config of a document. JSON takes the same way as YAML,
// so that both know the same keys and tell lines.
func decodeConfig(root *yaml.Node) (SandboxConfig, error) {
	if root == nil {
		return SandboxConfig{}, nil
	}
	if root.Kind != yaml.MappingNode {
		return SandboxConfig{}, &ConfigError{Problems: []Problem{{Line: root.Line, Message: "a config is a mapping of keys to values"}}}
	}
	keys := keyChecker{paths: make(map[int]string)}
	keys.check(root, reflect.TypeFor[SandboxConfig](), "")
	var config SandboxConfig
	problems := keys.problems
	if err := root.Decode(&config); err != nil {
		problems = append(problems, loadProblems(err, keys.paths)...)
	}
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
		return SandboxConfig{}, &ConfigError{Problems: problems}
	}
	return config, nil
}

func parseYAML(data []byte) (*yaml.Node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var document, second yaml.Node
	if err := loader.Load(&document); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, &ConfigError{Problems: loadProblems(err, nil)}
	}
	if err := loader.Load(&second); err == nil {
		return nil, &ConfigError{Problems: []Problem{{Line: second.Line, Message: "a second document begins; a file holds one config"}}}
	} else if !errors.Is(err, io.EOF) {
		return nil, &ConfigError{Problems: loadProblems(err, nil)}
	}
	if len(document.Content) == 0 || document.Content[0].ShortTag() == "!!null" {
		return nil, nil
	}
	return document.Content[0], nil
}

// loadProblems are the errors of the YAML package, with paths of the keys
// that stand on their lines.
func loadProblems(err error, paths map[int]string) []Problem {
	var several *yaml.LoadErrors
	if errors.As(err, &several) {
		var problems []Problem
		for _, e := range several.Errors {
			problems = append(problems, Problem{Line: e.Mark.Line, Field: paths[e.Mark.Line], Message: loadMessage(e)})
		}
		return problems
	}
	var one *yaml.LoadError
	if errors.As(err, &one) {
		return []Problem{{Line: one.Mark.Line, Field: paths[one.Mark.Line], Message: loadMessage(one)}}
	}
	return []Problem{{Message: err.Error()}}
}

func loadMessage(e *yaml.LoadError) string {
	text := e.Message
	if cause := errors.Unwrap(e); cause != nil {
		text = cause.Error()
	}
	if match := wrongKind.FindStringSubmatch(text); match != nil {
		return strings.TrimSpace(match[1]+" does not fit here:") + " write " + kindWords(match[2])
	}
	return text
}

var wrongKind = regexp.MustCompile("(?s)^cannot construct !!\\w+( `.*`)? into (.*)$")

// kindWords says what a Go type is called in a config file.
func kindWords(goType string) string {
	for prefix, words := range map[string]string{
		"int": "a whole number", "float64": "a number", "bool": "true or false", "string": "text",
		"[]": "a list", "map[": "a mapping of names to values",
	} {
		if strings.HasPrefix(goType, prefix) {
			return words
		}
	}
	return "a mapping of keys to values"
}

// keyChecker finds the keys of a document that a type does not have, and
// remembers what stands on which line.
type keyChecker struct {
	problems []Problem
	paths    map[int]string // by line
}

const maxMerges = 10 // of mappings into each other with <<

func (k *keyChecker) check(node *yaml.Node, t reflect.Type, path string) {
	k.checkMerged(node, t, path, 0)
}

func (k *keyChecker) checkMerged(node *yaml.Node, t reflect.Type, path string, merges int) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch {
	case node == nil || merges > maxMerges:
	case t.Kind() == reflect.Slice && node.Kind == yaml.SequenceNode:
		for i, item := range node.Content {
			itemPath := fmt.Sprintf("%s[%d]", path, i)
			k.paths[item.Line] = itemPath
			k.check(item, t.Elem(), itemPath)
		}
	case t.Kind() == reflect.Struct && node.Kind == yaml.MappingNode:
		known := keyTypes(t)
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			if key.ShortTag() == "!!merge" {
				k.checkMerged(value, t, path, merges+1)
				continue
			}
			keyPath := strings.TrimPrefix(path+"."+key.Value, ".")
			k.paths[key.Line] = keyPath
			if fieldType, ok := known[key.Value]; ok {
				k.check(value, fieldType, keyPath)
				continue
			}
			k.problems = append(k.problems, Problem{Line: key.Line, Field: keyPath, Message: unknownKey(key.Value, known)})
		}
	}
}

func keyTypes(t reflect.Type) map[string]reflect.Type {
	types := make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		types[name] = t.Field(i).Type
	}
	return types
}

func unknownKey(key string, known map[string]reflect.Type) string {
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	if name := nearest(key, names); name != "" {
		return "unknown key; did you mean " + name + "?"
	}
	return "unknown key"
}

// parseJSON makes of a JSON text the tree that the same YAML text would give.
func parseJSON(data []byte) (*yaml.Node, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		line := 1 // of the first wrong byte; the decoder would put another character there
		for text := data; len(text) > 0; {
			r, size := utf8.DecodeRune(text)
			if r == utf8.RuneError && size == 1 {
				break
			}
			if r == '\n' {
				line++
			}
			text = text[size:]
		}
		return nil, &ConfigError{Problems: []Problem{{Line: line, Message: "the file is no UTF-8 text"}}}
	}
	parser := jsonParser{data: data, decoder: json.NewDecoder(bytes.NewReader(data))}
	parser.decoder.UseNumber()
	root, err := parser.value()
	if err == nil {
		_, err = parser.decoder.Token()
		switch {
		case errors.Is(err, io.EOF):
			return root, nil
		case err == nil:
			err = errors.New("there is more after the config's closing brace")
		}
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the text ends before the config does")
	}
	return nil, &ConfigError{Problems: []Problem{{Line: parser.line(), Message: strings.TrimPrefix(err.Error(), "json: ")}}}
}

type jsonParser struct {
	data    []byte
	decoder *json.Decoder
}

func (p *jsonParser) line() int {
	return 1 + bytes.Count(p.data[:p.decoder.InputOffset()], []byte("\n"))
}

func (p *jsonParser) value() (*yaml.Node, error) {
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	node := &yaml.Node{Kind: yaml.ScalarNode, Line: p.line()}
	switch v := token.(type) {
	case json.Delim:
		node.Kind, node.Tag = yaml.MappingNode, "!!map"
		if v == '[' {
			node.Kind, node.Tag = yaml.SequenceNode, "!!seq"
		}
		for p.decoder.More() {
			item, err := p.value()
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, item)
		}
		_, err = p.decoder.Token()
		return node, err
	case string:
		node.Tag, node.Value, node.Style = "!!str", v, yaml.DoubleQuotedStyle
	case json.Number:
		node.Value = v.String()
	case bool:
		node.Tag, node.Value = "!!bool", fmt.Sprint(v)
	case nil:
		node.Tag, node.Value = "!!null", "null"
	}
	return node, nil
}
