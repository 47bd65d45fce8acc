// Package schematest checks JSON Schemas as strict clients of tools do.
package schematest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
)

// Checker checks schemas of the arguments of tools.
type Checker struct{ meta *jsonschema.Resolved }

// New reads the schema of schemas of the draft 2020-12, which the module of
// JSON Schema brings.
func New(tb testing.TB) *Checker {
	tb.Helper()
	if testing.Short() {
		tb.Skip("the go command tells where the meta-schema is, and not every user has it")
	}
	out, err := exec.CommandContext(tb.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/google/jsonschema-go").Output()
	if err != nil {
		tb.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "jsonschema", "meta-schemas", "draft2020-12")
	parts := map[string]*jsonschema.Schema{}
	found, err := filepath.Glob(filepath.Join(dir, "meta", "*.json"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, path := range found {
		part := read(tb, path)
		parts[part.ID] = part
	}
	meta, err := read(tb, filepath.Join(dir, "schema.json")).Resolve(&jsonschema.ResolveOptions{
		Loader: func(uri *url.URL) (*jsonschema.Schema, error) {
			if part := parts[uri.String()]; part != nil {
				return part, nil
			}
			return nil, fmt.Errorf("no schema %s", uri)
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return &Checker{meta}
}

func read(tb testing.TB, path string) *jsonschema.Schema {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	schema := new(jsonschema.Schema)
	if err := json.Unmarshal(data, schema); err != nil {
		tb.Fatal(err)
	}
	return schema
}

var toolName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Tool checks a tool's name and the schema of its arguments.
func (c *Checker) Tool(name string, schema any) error {
	if !toolName.MatchString(name) {
		return fmt.Errorf("name %q", name)
	}
	data, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return err
	}
	if tree["type"] != "object" {
		return fmt.Errorf("type %v at the top", tree["type"])
	}
	for _, combined := range []string{"anyOf", "oneOf", "allOf", "enum", "not"} {
		if tree[combined] != nil {
			return fmt.Errorf("%s at the top", combined)
		}
	}
	return c.Schema(tree)
}

// Schema checks any schema.
func (c *Checker) Schema(tree map[string]any) error {
	if err := c.meta.Validate(tree); err != nil {
		return err
	}
	definitions, _ := tree["$defs"].(map[string]any)
	return walk("", tree, definitions)
}

// walk checks what the schema of schemas leaves open: arrays say what their
// items are, as an object, and references lead to a definition.
func walk(where string, tree any, definitions map[string]any) error {
	schema, ok := tree.(map[string]any)
	if !ok {
		return nil // true or false
	}
	if schema["type"] == "array" {
		if _, ok := schema["items"].(map[string]any); !ok {
			return fmt.Errorf("%s: an array without items", where)
		}
	}
	if ref, given := schema["$ref"].(string); given {
		if name, found := strings.CutPrefix(ref, "#/$defs/"); !found || definitions[name] == nil {
			return fmt.Errorf("%s: reference to %s", where, ref)
		}
	}
	for keyword, inner := range schema {
		switch keyword {
		case "items", "additionalProperties", "not", "contains":
			if err := walk(where+"/"+keyword, inner, definitions); err != nil {
				return err
			}
		case "anyOf", "oneOf", "allOf", "prefixItems":
			for i, one := range inner.([]any) { //nolint:errcheck,forcetypeassert // the schema of schemas says so
				if err := walk(fmt.Sprintf("%s/%s/%d", where, keyword, i), one, definitions); err != nil {
					return err
				}
			}
		case "properties", "$defs", "patternProperties":
			for name, one := range inner.(map[string]any) { //nolint:errcheck,forcetypeassert // the schema of schemas says so
				if err := walk(where+"/"+keyword+"/"+name, one, definitions); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Closed says whether OpenAI's strict mode takes a schema: every object says
// that it has no other names than those it lists, and needs all of them.
func Closed(tree any) bool {
	switch tree := tree.(type) {
	case []any:
		for _, one := range tree {
			if !Closed(one) {
				return false
			}
		}
	case map[string]any:
		if tree["type"] == "object" {
			properties, _ := tree["properties"].(map[string]any)
			required, _ := tree["required"].([]any)
			if tree["additionalProperties"] != false || len(required) != len(properties) {
				return false
			}
		}
		for _, one := range tree {
			if !Closed(one) {
				return false
			}
		}
	}
	return true
}
