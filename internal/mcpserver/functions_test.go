package mcpserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
	"github.com/ajobi-uhc/seer-go/internal/schematest"
)

// echoes are functions that return their arguments.
type echoes []mcpserver.Function

func (e echoes) Functions() []mcpserver.Function { return e }

func (e echoes) CallFunction(_ context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	switch name {
	case "fail":
		return nil, errors.New("no such layer")
	case "text":
		return json.RawMessage(`"two\nlines"`), nil
	case "blank":
		return json.RawMessage(`""`), nil
	case "blanks":
		return json.RawMessage(`" \n"`), nil
	case "nothing":
		return json.RawMessage(`null`), nil
	}
	return arguments, nil
}

func TestFunctions(t *testing.T) {
	long := strings.Repeat("long_", 40)
	session := connect(t, mcpserver.Tools{Functions: echoes{
		{Name: "echo", Description: "Echoes.", Input: json.RawMessage(`{"type":"object","properties":{"x":{"enum":[1,2]}}}`)},
		{Name: "fail", Input: json.RawMessage(`{"type":"object"}`)},
		{Name: "text", Input: json.RawMessage(`{"type":"object"}`)},
		{Name: "nothing", Input: json.RawMessage(`{"type":"object"}`)},
		// Schemas come from a sandbox: none may bring this program down.
		{Name: "missing"},
		{Name: "broken", Input: json.RawMessage(`{`)},
		{Name: "list", Input: json.RawMessage(`{"type":"array"}`)},
		{Name: "number", Input: json.RawMessage(`{"type":"object","properties":{"x":{"default":1` + strings.Repeat("0", 400) + `}}}`)},
		{Name: "case", Input: json.RawMessage(`{"Type":"object"}`)},
		{Name: "deep", Input: json.RawMessage(`{"type":"object","x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`)},
		{Name: "escaped", Input: json.RawMessage(`{"type":"object","properties":{"x":{"type":"object","x-mcp-heade\u0072":"Bad Header"}}}`)},
		{Name: "header", Input: json.RawMessage(`{"type":"object","properties":{"x":{"type":"object","x-mcp-header":"Bad Header"}}}`)},
		// Names that some clients refuse.
		{Name: "größe", Input: json.RawMessage(`{"type":"object"}`)},
		{Name: long, Input: json.RawMessage(`{"type":"object"}`)},
		{Name: long + "_other", Input: json.RawMessage(`{"type":"object"}`)},
		{Name: "gr__e"}, {Name: "gr__e"}, {Name: ""}, {Name: "a.b\x00\n"},
		// What no client can follow.
		{Name: "dangling", Input: json.RawMessage(`{"type":"object","properties":{"x":{"$ref":"#/$defs/X"}}}`)},
		{Name: "abroad", Input: json.RawMessage(`{"type":"object","properties":{"x":{"$ref":"http://127.0.0.1/"}}}`)},
		{Name: "endless", Input: json.RawMessage(`{"type":"object","properties":` + strings.Repeat(`{"x":{"type":"object","properties":`, 200) + `{}` + strings.Repeat(`}}`, 200) + `}`)},
		{Name: "large", Input: json.RawMessage(`{"type":"object","description":"` + strings.Repeat("x", 300<<10) + `"}`)},
		{Name: "odd", Input: json.RawMessage(`{"type":"object","properties":{"x":{"type":[1]}}}`)},
		{Name: "talkative", Description: strings.Repeat("x", 1<<20)},
	}}, nil)
	check := schematest.New(t)
	described := map[string]string{}
	schemas := map[string]string{}
	for tool, err := range session.Tools(t.Context(), nil) {
		require.NoError(t, err)
		schema, err := json.Marshal(tool.InputSchema)
		require.NoError(t, err)
		schemas[tool.Name] = string(schema)
		described[tool.Name] = tool.Description
		require.NoError(t, check.Tool(tool.Name, tool.InputSchema))
		assert.Less(t, len(tool.Description), 20<<10)
	}
	assert.JSONEq(t, `{"type":"object","properties":{"x":{"enum":[1,2]}}}`, schemas["echo"])
	for _, name := range []string{"missing", "broken", "list", "number", "case", "deep", "escaped", "header", "dangling", "abroad", "endless", "large", "odd"} {
		assert.JSONEq(t, `{"type":"object"}`, schemas[name], name)
	}
	for name, want := range map[string]string{"echo": `{"x":1}`, "text": "two\nlines", "nothing": "null", "fail": "no such layer"} {
		text, failed := call(t, session, name, map[string]any{"x": 1})
		assert.Equal(t, want, text)
		assert.Equal(t, name == "fail", failed, name)
	}
	renamed := map[string]string{}
	for name, words := range described {
		if original, found := strings.CutPrefix(words, "The function "); found {
			renamed[strings.SplitN(original, ".\n\n", 2)[0]] = name
		}
	}
	assert.Contains(t, renamed, "größe")
	assert.Contains(t, renamed, "a.b\x00\n")
	assert.Len(t, schemas, 25, "no two have the same name")
	text, failed := call(t, session, renamed["größe"], map[string]any{"x": 1})
	assert.Equal(t, `{"x":1}`, text)
	assert.False(t, failed)
}
