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

	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/internal/rpc"
	"github.com/ajobi-uhc/seer-go/internal/venvtest"
)

// leaves are Python values with what a Go program and an agent get of them.
var leaves = []struct{ python, plain string }{
	{"None", "null"}, {"True", "true"}, {"0", "0"}, {"-1", "-1"}, {"2**70", "1180591620717411303424"}, {"10**300", "1" + strings.Repeat("0", 300)},
	{"1.5", "1.5"}, {"-0.0", "-0.0"}, {"1e308", "1e308"}, {"nan", `"NaN"`}, {"-inf", `"-Infinity"`}, {"''", `""`}, {"'$set'", `"$set"`},
	{`"\u2028\U0001f600\x00"`, `"\u2028😀\u0000"`}, {"b''", `""`}, {`b"\xff\x00"`, `"/wA="`}, {"(1, 2)", "[1,2]"}, {"()", "[]"}, {"{1}", "[1]"},
	{"frozenset()", "[]"}, {"{'$set': [1]}", `{"$set":[1]}`}, {"{'$float': 'nan'}", `{"$float":"nan"}`}, {"{1: 2, None: 3}", `{"1":2,"null":3}`},
	{"{(1, 2): 3}", `{"[1, 2]":3}`}, {"datetime.date(2024, 2, 29)", `"2024-02-29"`}, {"datetime.timedelta(1, 2, 3)", "86402.000003"},
	{"datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.timezone.utc)", `"2024-01-02T03:00:00+00:00"`}, {"datetime.time(1, 2)", `"01:02:00"`},
	{"decimal.Decimal('1.50')", `"1.50"`}, {"uuid.UUID(int=5)", `"00000000-0000-0000-0000-000000000005"`}, {"1 - 2j", "[1.0,-2.0]"},
	{"pathlib.Path('a/b')", `"a/b"`}, {"collections.OrderedDict(a=1)", `{"a":1}`}, {"range(3)", "[0,1,2]"}, {"Color.RED", "1"},
	{"Span(1)", `{"start":1,"inner":null}`}, {"Span(1, Span(2))", `{"start":1,"inner":{"start":2,"inner":null}}`},
	{"Pair(1, 'x')", `[1,"x"]`},
}

var arrays = []struct{ python, plain string }{
	{"np.array([1, 2])", "[1,2]"}, {"np.array([[1.5, np.nan]])", `[[1.5,"NaN"]]`}, {"np.float32(0.5)", "0.5"}, {"np.int64(7)", "7"}, {"np.bool_(True)", "true"},
	{"np.zeros((0, 2))", "[]"}, {"np.array('x')", `"x"`}, {"np.array([1j])", "[[0.0,1.0]]"}, {"np.ma.masked_array([1, 2], [0, 1])", "[1,null]"},
	{"np.array([1.5], np.longdouble)", "[1.5]"}, {"np.array([1], '>i2')", "[1]"}, {"np.array([b'x'])", `["eA=="]`}, {"np.array([(1, 'a')], 'i4,U1')", `[[1,"a"]]`},
	{"Model(x=1)", `{"x":1,"tags":[]}`}, {"[Model(x=2, tags=['$set'])]", `[{"x":2,"tags":["$set"]}]`},
}

var heavy = []struct{ python, plain string }{
	{"torch.tensor([1.5, 2.5])", "[1.5,2.5]"}, {"torch.tensor(3)", "3"}, {"torch.tensor([1.5], dtype=torch.bfloat16)", "[1.5]"},
	{"torch.tensor([1.0], requires_grad=True)", "[1.0]"}, {"pd.Timestamp('2024-01-02')", `"2024-01-02T00:00:00"`}, {"pd.NaT", "null"},
	{"pd.Series([1, 2]).to_dict()", `{"0":1,"1":2}`}, {"pd.DataFrame({'a': [1]}).to_dict('records')", `[{"a":1}]`},
}

const valuesHead = `
import collections, dataclasses, datetime, decimal, enum, pathlib, typing, uuid
from math import nan, inf
class Color(enum.Enum):
    RED = 1
@dataclasses.dataclass
class Span:
    start: int
    inner: typing.Optional["Span"] = None
class Pair(typing.NamedTuple):
    left: int
    right: str
`

const arraysHead = `
import numpy as np, pydantic
class Model(pydantic.BaseModel):
    x: int
    tags: typing.List[str] = []
`

// Values made at random, nested in each other, come out as what they should:
// for agents, for Go, and for the library, which sends them back as they came.
func TestValuesInEveryWay(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 7))
	head, known, requirements := valuesHead+arraysHead, append(leaves[:len(leaves):len(leaves)], arrays...), []string{"mypy", "numpy", "pydantic"}
	count := 120
	if longtest.Wanted() {
		head += "import torch, pandas as pd\n"
		known, count = append(known, heavy...), 2000
		requirements = []string{"numpy", "pydantic", "torch", "pandas"}
	}
	var made func(depth int) (python, plain string)
	made = func(depth int) (string, string) {
		if depth == 0 || random.IntN(3) == 0 {
			one := known[random.IntN(len(known))]
			return one.python, one.plain
		}
		a, plainA := made(depth - 1)
		b, plainB := made(depth - 1)
		switch random.IntN(3) {
		case 0:
			return "[" + a + ", " + b + "]", "[" + plainA + "," + plainB + "]"
		case 1:
			return "(" + a + ", " + b + ")", "[" + plainA + "," + plainB + "]"
		}
		return "{'k': " + a + ", '$set': " + b + "}", `{"k":` + plainA + `,"$set":` + plainB + `}`
	}
	var values, plains []string
	for _, one := range known {
		values, plains = append(values, one.python), append(plains, one.plain)
	}
	for range count {
		value, plain := made(3)
		values, plains = append(values, value), append(plains, plain)
	}
	source := head + "values = [\n    " + strings.Join(values, ",\n    ") + ",\n]\n" + `
@expose
def value(i: int): return values[i]
@expose
def same(i: int, x): return x
`
	python := venvtest.Python(t, requirements...)
	server := startServer(t, python)
	client, description := serve(t, server, "values", source)
	for i, want := range plains {
		raw, err := client.CallJSON(t.Context(), "value", json.RawMessage(fmt.Sprintf(`{"i":%d}`, i)))
		require.NoError(t, err, values[i])
		require.JSONEq(t, want, string(raw), values[i])
		var tagged rpc.Value
		require.NoError(t, client.Call(t.Context(), "value", map[string]any{"i": i}, &tagged), values[i])
		var back rpc.Value
		require.NoError(t, client.Call(t.Context(), "same", map[string]any{"i": i, "x": tagged}, &back), values[i])
		require.Equal(t, string(tagged), string(back), values[i])
		var anything any
		if err := tagged.Decode(&anything); !strings.Contains(values[i], "10**300") {
			require.NoError(t, err, values[i])
		}
	}
	assert.Equal(t, "ok\n", runPython(t, python, installLibrary(t, description), libraryEnv(server, "values"), fmt.Sprintf(`
import values as m
for i in range(%d):
    got = m.value(i)
    back = m.same(i, got)
    assert repr(got) == repr(back), (got, back)
print("ok")
`, len(values))))
}
