//go:build unix

package rpc_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
	"github.com/ajobi-uhc/seer-go/internal/schematest"
	"github.com/ajobi-uhc/seer-go/internal/venvtest"
)

const arraysAndModels = `
import numpy as np
import pydantic
from typing import List, Optional

class Item(pydantic.BaseModel):
    name: str
    size: int = pydantic.Field(1, ge=0, description="how big")
    parts: List["Item"] = []

@expose
def arrays(kind: str):
    return {
        "matrix": np.array([[1.5, np.nan], [np.inf, 2]]), "ints": np.arange(3, dtype="uint8"), "scalar": np.float32(0.5),
        "int": np.int64(7), "bool": np.bool_(True), "zero": np.zeros((0, 3)), "zerodim": np.array(4), "text": np.array(["a"]),
        "when": np.datetime64("2024-01-02"), "then": np.array(["2024-01-02T03:04:05.678901234", "NaT"], "M8[ns]"),
        "took": np.timedelta64(1500, "ps"), "half": np.float16(0.25), "wave": np.array([1j]), "big": np.array([1, 2], dtype=">i4"),
    }[kind]

@expose
def mean(x: np.ndarray, weights: Optional[np.ndarray] = None) -> float:
    assert isinstance(x, np.ndarray)
    return np.average(x, weights=weights)

@expose
def kind(x: float): return type(x).__name__

@expose
def store(item: Item, more: List[Item] = []) -> Item:
    assert isinstance(item, Item) and all(isinstance(one, Item) for one in more)
    return Item(name=item.name, size=item.size + 1, parts=[item, *more])
`

func TestNumpyAndPydantic(t *testing.T) {
	t.Parallel()
	python := venvtest.Python(t, "mypy", "numpy", "pydantic")
	server := startServer(t, python)
	client, description := serve(t, server, "model_tools", arraysAndModels)
	var raw json.RawMessage
	for kind, want := range map[string]string{
		"matrix": `[[1.5,"NaN"],["Infinity",2.0]]`, "ints": `[0,1,2]`, "scalar": `0.5`, "int": `7`, "bool": `true`, "zero": `[]`,
		"zerodim": `4`, "text": `["a"]`, "when": `"2024-01-02"`, "then": `["2024-01-02T03:04:05.678901",null]`, "took": `0.0`, "half": `0.25`, "wave": `[[0.0,1.0]]`, "big": `[1,2]`,
	} {
		require.NoError(t, client.Call(t.Context(), "arrays", map[string]any{"kind": kind}, &raw), kind)
		assert.JSONEq(t, want, string(raw), kind)
	}
	var mean float64
	require.NoError(t, client.Call(t.Context(), "mean", map[string]any{"x": [][]float64{{1, 2}, {3, 6}}}, &mean))
	assert.InDelta(t, 3.0, mean, 1e-9)

	require.NoError(t, client.Call(t.Context(), "store", map[string]any{
		"item": map[string]any{"name": "a"}, "more": []any{map[string]any{"name": "b", "size": 5}},
	}, &raw))
	assert.JSONEq(t, `{"name":"a","size":2,"parts":[{"name":"a","size":1,"parts":[]},{"name":"b","size":5,"parts":[]}]}`, string(raw))
	var failed *rpc.CallError
	require.ErrorAs(t, client.Call(t.Context(), "store", map[string]any{"item": map[string]any{"name": "a", "size": -1}}, &raw), &failed)
	assert.Contains(t, failed.Message, "store: argument item")
	store := description.Functions[3]
	assert.Contains(t, string(store.InputSchema), `"minimum": 0`)
	assert.Contains(t, string(store.InputSchema), `"$defs"`)

	dir := installLibrary(t, description)
	withNumpy := `
import math, numpy as np, model_tools as m
assert m.arrays("ints") == [0, 1, 2] and math.isnan(m.arrays("matrix")[0][1]) and m.arrays("wave") == [1j]
assert m.mean(np.array([1.0, 3.0]), weights=np.array([1, 3])) == 2.5
assert m.kind(np.ones((2, 2))) == "ndarray" and m.kind(np.float32(1)) == "float"
print("ok")
`
	assert.Equal(t, "ok\n", runPython(t, python, dir, libraryEnv(server, "model_tools"), withNumpy))

	client, _ = serveSpec(t, server, rpc.Spec{Name: "model_tools", Source: arraysAndModels, Arrays: true})
	assert.Equal(t, "ok\n", runPython(t, python, dir, libraryEnv(server, "model_tools"), `
import numpy as np, model_tools as m
got = m.arrays("matrix")
assert isinstance(got, np.ndarray) and got.shape == (2, 2) and np.isnan(got[0, 1])
assert m.arrays("zero").shape == (0, 3) and m.arrays("big").tolist() == [1, 2] and m.arrays("ints").dtype == np.uint8
print("ok")
`))
	assert.Equal(t, "ok\n", runPython(t, newest(t).path, dir, libraryEnv(server, "model_tools"), `
import model_tools as m
got = m.arrays("matrix")
assert got[0][0] == 1.5 and got[1] == [float("inf"), 2.0] and m.arrays("ints") == [0, 1, 2] and m.arrays("zero") == []
print("ok")
`))
	var array rpc.Array
	require.NoError(t, client.Call(t.Context(), "arrays", map[string]any{"kind": "ints"}, &array))
	assert.Equal(t, rpc.Array{DType: "|u1", Shape: []int{3}, Data: []byte{0, 1, 2}}, array)
}

const aliases = `
import numpy as np
import pydantic
from typing import Dict, List, Union

class Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    long_name: str = pydantic.Field(alias="longName")
    size: int = pydantic.Field(1, validation_alias="sizeIn", serialization_alias="sizeOut")

    @pydantic.computed_field
    @property
    def area(self) -> int:
        return self.size * self.size

class Whole(pydantic.BaseModel):
    parts: List[Part] = []
    by_name: Dict[str, Part] = {}

class Strict(pydantic.BaseModel):
    x: int

    @pydantic.field_validator("x")
    @classmethod
    def check(cls, value):
        raise KeyError("no such layer")

def other():
    class Part(pydantic.BaseModel):
        weight: float
    class Whole(pydantic.BaseModel):
        part: Part
    return Whole

Other = other()

@expose
def part(p: Part) -> Part: return p
@expose
def whole(w: Whole) -> Whole: return w
@expose
def strict(s: Strict): return s
@expose
def both(a: Whole, b: Other, c: List[Part]) -> Union[Whole, Other]: return b
@expose
def masked(): return [np.ma.masked_array([1.5, 2.5], mask=[False, True]), np.ma.masked_array([1, 2]), np.ma.masked]
@expose
def long(): return np.array([1.5], dtype=np.longdouble)
@expose
def plain(x: np.ndarray = None) -> np.ndarray: return x
`

func TestModelsGoThereAndBack(t *testing.T) {
	t.Parallel()
	python := venvtest.Python(t, "mypy", "numpy", "pydantic")
	server := startServer(t, python)
	client, description := serveSpec(t, server, rpc.Spec{Name: "models", Source: aliases, Arrays: true})
	call := func(function, arguments string) string {
		result, err := client.CallJSON(t.Context(), function, json.RawMessage(arguments))
		require.NoError(t, err, "%s %s", function, arguments)
		return string(result)
	}
	made := call("part", `{"p":{"longName":"a","sizeIn":2}}`)
	assert.JSONEq(t, `{"longName":"a","sizeOut":2,"area":4}`, made)
	assert.JSONEq(t, made, call("part", `{"p":`+made+`}`), "what comes back is taken again")
	made = call("whole", `{"w":"{\"parts\":[{\"longName\":\"a\"}],\"by_name\":{\"b\":{\"longName\":\"c\",\"sizeIn\":3}}}"}`)
	assert.JSONEq(t, made, call("whole", `{"w":`+made+`}`))
	assert.JSONEq(t, `{"part":{"weight":1.5}}`, call("both", `{"a":{},"b":{"part":{"weight":1.5}},"c":[]}`))
	assert.JSONEq(t, `[[1.5,null],[1,2],null]`, call("masked", `{}`))
	assert.JSONEq(t, `null`, call("plain", `{"x":null}`))

	var failed *rpc.CallError
	_, err := client.CallJSON(t.Context(), "strict", json.RawMessage(`{"s":{"x":1}}`))
	require.ErrorAs(t, err, &failed)
	assert.Equal(t, "KeyError", failed.Type)
	assert.Equal(t, "'no such layer'", failed.Message)

	check := schematest.New(t)
	for _, function := range description.Functions {
		require.NoError(t, check.Tool(function.Name, function.InputSchema))
		var output map[string]any
		require.NoError(t, json.Unmarshal(function.OutputSchema, &output))
		require.NoError(t, check.Schema(output))
	}
	assert.Contains(t, string(description.Functions[0].InputSchema), `"sizeIn"`)
	assert.Contains(t, string(description.Functions[0].OutputSchema), `"sizeOut"`)
	var definitions struct {
		Defs map[string]json.RawMessage `json:"$defs"`
	}
	require.NoError(t, json.Unmarshal(description.Functions[3].InputSchema, &definitions))
	weights := 0
	for _, one := range definitions.Defs {
		if strings.Contains(string(one), `"weight"`) {
			weights++
		} else {
			assert.Contains(t, string(one), `"longName"`)
		}
	}
	assert.Equal(t, 1, weights, "two classes of one name have a definition each")

	assert.Equal(t, "ok\n", runPython(t, python, installLibrary(t, description), libraryEnv(server, "models"), `
import numpy as np, models as m
made = m.part({"longName": "a", "sizeIn": 2})
assert m.part(made) == made == {"longName": "a", "sizeOut": 2, "area": 4}
masked, whole, nothing = m.masked()
assert masked == [1.5, None] and list(whole) == [1, 2] and nothing is None
assert m.long().dtype == np.float64 and m.plain() is None and m.plain(np.ones(2)).tolist() == [1.0, 1.0]
print("ok")
`))
}
