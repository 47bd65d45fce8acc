package mcpserver

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// anything is the schema of a tool that takes whatever object comes.
const anything = `{"type":"object"}`

const (
	// maxSchema bounds a schema, in bytes: every client gets all of them.
	maxSchema = 256 << 10
	// maxNesting bounds how deeply a schema's parts lie in each other.
	maxNesting = 100
)

// usable returns a schema of a function's arguments for clients that are
// strict, or one that takes anything where it is not such a one: it comes from
// where the function runs.
func usable(schema json.RawMessage) json.RawMessage {
	var tree map[string]any
	if len(schema) > maxSchema || json.Unmarshal(schema, &tree) != nil || tree["type"] != "object" {
		return json.RawMessage(anything)
	}
	definitions, _ := tree["$defs"].(map[string]any)
	if !sound(tree, definitions, 0) {
		return json.RawMessage(anything)
	}
	return schema
}

// The keywords whose value is a schema, a list of them, or some by name.
var (
	schemaKeywords = []string{
		"items", "additionalProperties", "not", "contains", "if", "then", "else", "propertyNames",
		"unevaluatedItems", "unevaluatedProperties",
	}
	listKeywords  = []string{"anyOf", "oneOf", "allOf", "prefixItems"}
	namedKeywords = []string{"properties", "patternProperties", "$defs", "dependentSchemas"}
)

// sound says whether each part is a schema, and each reference has something it refers to.
func sound(tree any, definitions map[string]any, depth int) bool {
	if _, always := tree.(bool); always {
		return true
	}
	schema, ok := tree.(map[string]any)
	if !ok || depth > maxNesting || !soundKeywords(schema, definitions) {
		return false
	}
	for keyword, inner := range schema {
		var parts []any
		switch {
		case slices.Contains(schemaKeywords, keyword):
			parts = []any{inner}
		case slices.Contains(listKeywords, keyword):
			if parts, ok = inner.([]any); !ok {
				return false
			}
		case slices.Contains(namedKeywords, keyword):
			named, ok := inner.(map[string]any)
			if !ok {
				return false
			}
			parts = slices.Collect(maps.Values(named))
		}
		for _, part := range parts {
			if !sound(part, definitions, depth+1) {
				return false
			}
		}
	}
	return true
}

// soundKeywords checks a schema's own words.
func soundKeywords(schema, definitions map[string]any) bool {
	if ref, given := schema["$ref"]; given {
		text, _ := ref.(string)
		name, found := strings.CutPrefix(text, "#/$defs/")
		if _, defined := definitions[name]; text != "#" && (!found || !defined) {
			return false
		}
	}
	if _, foreign := schema["$dynamicRef"]; foreign {
		return false
	}
	switch kind := schema["type"].(type) {
	case nil, string:
	case []any:
		for _, one := range kind {
			if _, ok := one.(string); !ok {
				return false
			}
		}
	default:
		return false
	}
	for _, keyword := range []string{"required", "enum"} {
		if value, given := schema[keyword]; given {
			if _, ok := value.([]any); !ok {
				return false
			}
		}
	}
	return true
}
