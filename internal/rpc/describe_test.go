//go:build unix

package rpc_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSchemas(t *testing.T) {
	t.Parallel()
	imports := `
import dataclasses, datetime, enum, typing, decimal, pathlib, uuid
from typing import *
class Color(enum.Enum):
    RED = "red"
    BLUE = 2
@dataclasses.dataclass
class Node:
    "A node."
    value: int
    children: List["Node"] = dataclasses.field(default_factory=list)
class Movie(TypedDict, total=False):
    title: str
class Pair(NamedTuple):
    left: int
    right: str = "r"
class Limit:
    ge, le, description = 0, 9, "a digit"
Alias = NewType("Alias", int)
T = TypeVar("T", bound=str)
`
	node := `{"$ref":"#/$defs/Node"}`
	tests := []struct{ annotation, schema string }{
		{"int", `{"type":"integer"}`},
		{"Any", `{}`},
		{"None", `{"type":"null"}`},
		{"Optional[int]", `{"anyOf":[{"type":"integer"},{"type":"null"}]}`},
		{"Union[str, List[float]]", `{"anyOf":[{"type":"string"},{"type":"array","items":{"type":"number"}}]}`},
		{`Literal["a", 1, None, Color.RED]`, `{"enum":["a",1,null,"red"]}`},
		{"list[int]", `{"type":"array","items":{"type":"integer"}}`},
		{"list", `{"type":"array","items":{}}`},
		{"tuple", `{"type":"array","items":{}}`},
		{"List[Any]", `{"type":"array","items":{}}`},
		{"Dict[str, bool]", `{"type":"object","additionalProperties":{"type":"boolean"}}`},
		{"Tuple[int, str]", `{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":{"anyOf":[{"type":"integer"},{"type":"string"}]},"minItems":2,"maxItems":2}`},
		{"Tuple[int, int]", `{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":2}`},
		{"Tuple[int, ...]", `{"type":"array","items":{"type":"integer"}}`},
		{"Set[str]", `{"type":"array","items":{"type":"string"},"uniqueItems":true}`},
		{"Sequence[Mapping[str, Any]]", `{"type":"array","items":{"type":"object"}}`},
		{"bytes", `{"type":"string","contentEncoding":"base64"}`},
		{"datetime.datetime", `{"type":"string","format":"date-time"}`},
		{"pathlib.Path", `{"type":"string","format":"path"}`},
		{"Color", `{"$ref":"#/$defs/Color"}`},
		{"Node", node},
		{"Movie", `{"$ref":"#/$defs/Movie"}`},
		{"Pair", `{"$ref":"#/$defs/Pair"}`},
		{"Alias", `{"type":"integer"}`},
		{"T", `{"type":"string"}`},
		{`Annotated[int, "how many"]`, `{"type":"integer","description":"how many"}`},
		{"Annotated[int, Limit()]", `{"type":"integer","minimum":0,"maximum":9,"description":"a digit"}`},
		{`"torch.Tensor"`, `{"description":"torch.Tensor"}`},
		{`List["Foo"]`, `{"type":"array","items":{"description":"Foo"}}`},
		{"Callable[[int], str]", `{"description":"Callable[[int], str]"}`},
	}
	source := imports
	for i, test := range tests {
		source += fmt.Sprintf("@expose\ndef f%d(x: %s) -> %s: return x\n", i, test.annotation, test.annotation)
	}
	eachInterpreter(t, func(t *testing.T, python interpreter) {
		_, description := serve(t, startServer(t, python.path), "schemas", source)
		for i, test := range tests {
			function := description.Functions[i]
			assert.JSONEq(t, test.schema, string(function.Parameters[0].Schema), test.annotation)
			var input struct {
				Properties map[string]json.RawMessage
				Required   []string
				Defs       map[string]json.RawMessage `json:"$defs"`
			}
			require.NoError(t, json.Unmarshal(function.InputSchema, &input))
			assert.JSONEq(t, test.schema, string(input.Properties["x"]))
			assert.Equal(t, []string{"x"}, input.Required)
			if test.schema == node {
				assert.JSONEq(t, `{"type":"object","description":"A node.","additionalProperties":false,"properties":{"value":{"type":"integer"},`+
					`"children":{"type":"array","items":{"$ref":"#/$defs/Node"}}},"required":["value"]}`, string(input.Defs["Node"]))
			}
		}
	})
}

func TestFaces(t *testing.T) {
	_, description := serve(t, startServer(t, newest(t).path), "model_tools",
		"@expose(serial=True)\ndef embed(text: str, *, scale: float = 1.0) -> list[float]:\n    \"\"\"Embeds.\n\n    Slowly.\"\"\"\n"+
			"@expose\ndef stream(n: int):\n    yield n\n")
	assert.Equal(t, `The service model_tools offers these functions. They run elsewhere; nothing else there can be reached.

embed(text: str, *, scale: float = 1.0) -> list[float]
    Runs one call at a time.
    Embeds.

    Slowly.

stream(n: int)
    Yields its items one by one.
`, description.Prompt())
	skill := description.Skill()
	assert.Equal(t, "model-tools", skill.Name)
	markdown, err := skill.Markdown()
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(markdown, "---\nname: \"model-tools\"\ndescription: \"Call the functions of the service model_tools from Python: embed, stream.\"\n---\n\n# model_tools\n"), markdown)
	assert.Contains(t, markdown, "```python\nmodel_tools.embed(text: str, *, scale: float = 1.0) -> list[float]\n```")
}

// What newer Pythons can write: an alias that contains itself, type parameters,
// an unpacked tuple.
func TestNewerAnnotations(t *testing.T) {
	t.Parallel()
	python := newest(t)
	if python.version < "3.12" {
		t.Skipf("skipped: needs Python 3.12, the newest here is %s", python.version)
	}
	server := startServer(t, python.path)
	client, description := serve(t, server, "model_tools", `
type Tree = dict[str, Tree] | list[Tree] | int
@expose
def walk[T: (int, str)](tree: Tree, *rest: *tuple[int, ...], first: T = 0) -> Tree: return [tree, first, *rest]
`)
	assert.JSONEq(t, `{
		"type": "object", "additionalProperties": false, "required": ["tree"],
		"properties": {"tree": {"$ref": "#/$defs/Tree"}, "rest": {"type": "array", "items": {}}, "first": {"default": 0}},
		"$defs": {"Tree": {"anyOf": [
			{"type": "object", "additionalProperties": {"$ref": "#/$defs/Tree"}},
			{"type": "array", "items": {"$ref": "#/$defs/Tree"}},
			{"type": "integer"}
		]}}
	}`, string(description.Functions[0].InputSchema))
	var result json.RawMessage
	require.NoError(t, client.Call(t.Context(), "walk", map[string]any{"tree": map[string]any{"a": []int{1}}, "rest": []int{2, 3}}, &result))
	assert.JSONEq(t, `[{"a": [1]}, 0, 2, 3]`, string(result))
	assert.Equal(t, "[1, 0, 2]\n", runPython(t, interpreters()[0].path, installLibrary(t, description), libraryEnv(server, "model_tools"),
		"import model_tools\nprint(model_tools.walk(1, 2))\n"))
}

// Signatures made at random: each library imports, shows what it should, and
// passes its arguments to where Python itself would put them.
func TestRandomSignatures(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 17))
	var interface_, program strings.Builder
	program.WriteString("import model_tools as m\n")
	for i := range 150 {
		signature, call := randomSignature(random)
		fmt.Fprintf(&interface_, "@expose\ndef f%d(%s): return %s\n", i, signature, "sorted(locals().items())")
		fmt.Fprintf(&program, "def g(%s): return sorted(locals().items())\nassert m.f%d(%s) == g(%s), %d\n", signature, i, call, call, i)
	}
	program.WriteString("print('ok')\n")
	eachInterpreter(t, func(t *testing.T, python interpreter) {
		server := startServer(t, python.path)
		_, description := serve(t, server, "model_tools", interface_.String())
		assert.Equal(t, "ok\n", runPython(t, python.path, installLibrary(t, description), libraryEnv(server, "model_tools"), program.String()))
	})
}

func randomSignature(random *rand.Rand) (signature, call string) {
	values := []string{"1", "-2.5", "'a\\'\"\\n\\u2028'", "None", "True", "(1, (2,))", "[1, 'x']", "{'k': (1,)}", "{1: 2}", "b'\\x00\"'", "1j", "float('inf')", "frozenset({1})"}
	value := func() string { return values[random.IntN(len(values))] }
	var parts, args []string
	defaulted, given := false, true
	positional := func(count int, kind string) {
		for i := range count {
			part := fmt.Sprintf("%s%d", kind, i)
			defaulted = defaulted || random.IntN(3) == 0
			if defaulted {
				part += "=" + value()
				given = given && random.IntN(3) > 0
			}
			if given {
				args = append(args, value())
			}
			parts = append(parts, part)
		}
	}
	if count := random.IntN(3); count > 0 {
		positional(count, "p")
		parts = append(parts, "/")
	}
	positional(random.IntN(3), "n")
	starred := random.IntN(2) == 0
	if starred {
		parts = append(parts, "*args")
		for range random.IntN(3) {
			if given {
				args = append(args, value())
			}
		}
	}
	keywordOnly := random.IntN(3)
	if keywordOnly > 0 && !starred {
		parts = append(parts, "*")
	}
	for i := range keywordOnly {
		name := fmt.Sprintf("k%d", i)
		if random.IntN(2) == 0 {
			parts = append(parts, name+"="+value())
		} else {
			parts = append(parts, name)
			args = append(args, name+"="+value())
		}
	}
	if random.IntN(2) == 0 {
		parts = append(parts, "**kwargs")
		for i := range random.IntN(3) {
			args = append(args, fmt.Sprintf("**{%q: %s}", []string{"args", "$x", "ä"}[i], value()))
		}
	}
	return strings.Join(parts, ", "), strings.Join(args, ", ")
}
