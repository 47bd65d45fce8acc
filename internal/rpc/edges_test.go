//go:build unix

package rpc_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

// Signatures, results, errors and processes of the kind that bridges between
// programs get wrong, through the library.
func TestLibraryAtTheEdges(t *testing.T) {
	t.Parallel()
	source, check := readFile(t, "testdata/edges.py"), readFile(t, "testdata/check_edges.py")
	eachInterpreter(t, func(t *testing.T, python interpreter) {
		server := startServer(t, python.path)
		_, description := serve(t, server, "edges", source)
		assert.Equal(t, "ok\n", runPython(t, python.path, installLibrary(t, description), libraryEnv(server, "edges"), check))
	})
}

// Arguments as an agent sends them: plain JSON, null for what is left out,
// values as texts. What does not fit is refused before the function sees it.
func TestArgumentsOfAgents(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "edges", readFile(t, "testdata/edges.py"))
	for _, test := range []struct{ function, arguments, want string }{
		{"echo", `{"x":{"$set":[1]}}`, `{"$set":[1]}`},
		{"echo", `{"x":{"$date":"2024-01-02"}}`, `{"$date":"2024-01-02"}`},
		{"echo", `{"x":{"$bytes":"!!"}}`, `{"$bytes":"!!"}`},
		{"echo", `{"x":[{"$dict":[[1,2]]},{"$float":"nan"},{"$unknown":{}}]}`, `[{"$dict":[[1,2]]},{"$float":"nan"},{"$unknown":{}}]`},
		{"defaults", ``, `[null,{},"",[],"auto",0,"c",null,0]`},
		{"defaults", `{"level":null,"options":{},"day":"","x":[],"n":"auto","flag":0,"mode":"c","few":null,"at":0}`, `[null,{},"",[],"auto",0,"c",null,0]`},
		{"defaults", `{"level":null,"options":null,"day":null,"x":null,"n":null,"flag":null,"mode":null,"few":null,"at":null}`, `[null,{},"",[],"auto",0,"c",null,0]`},
		{"maybe", `{"n":null,"m":null,"free":null,"any":null}`, `[null,6,7,null]`},
		{"typed", `{"n":"7","f":"1.5","b":"False","l":"[1, \"2\"]","m":"{\"a\": 1}","o":"{\"size\": 2}","c":"3","t":"[1, \"x\"]"}`,
			`"[7, 1.5, False, '', [1, 2], {'a': 1}, Options(size=2, name='x', area=4), 3, 0.5, 'ab', (1, 'x'), None, <Level.LOW: 'low'>, None]"`},
		{"typed", `{"n":7.0,"f":2,"b":true,"s":"[1]","e":"HIGH","d":"2024-01-02"}`,
			`"[7, 2.0, True, '[1]', [], {}, None, 'x', 0.5, 'ab', (0, ''), None, <Level.HIGH: 'high'>, datetime.date(2024, 1, 2)]"`},
		{"typed", `{"n":"abc"}`, `typed: argument n: expected an integer, got the string "abc"`},
		{"typed", `{"n":1.5}`, `typed: argument n: expected an integer, got the number 1.5`},
		{"typed", `{"n":true}`, `typed: argument n: expected an integer, got true`},
		{"typed", `{"n":[1]}`, `typed: argument n: expected an integer, got a list`},
		{"typed", `{"f":"fast"}`, `typed: argument f: expected a number, got the string "fast"`},
		{"typed", `{"b":"perhaps"}`, `typed: argument b: expected true or false, got the string "perhaps"`},
		{"typed", `{"b":2}`, `typed: argument b: expected true or false, got the number 2`},
		{"typed", `{"s":5}`, `typed: argument s: expected a string, got the number 5`},
		{"typed", `{"l":"[1, 2"}`, `typed: argument l: expected a list, got the string "[1, 2"`},
		{"typed", `{"l":{"a":1}}`, `typed: argument l: expected a list, got an object`},
		{"typed", `{"l":[1,"x"]}`, `typed: argument l[1]: expected an integer, got the string "x"`},
		{"typed", `{"m":{"a":"x"}}`, `typed: argument m['a']: expected an integer, got the string "x"`},
		{"typed", `{"o":{"name":"y"}}`, `typed: argument o: missing field size`},
		{"typed", `{"o":{"size":1,"colour":"red"}}`, `typed: argument o: unknown field colour; there are size, name, area`},
		{"typed", `{"o":{"size":"big"}}`, `typed: argument o.size: expected an integer, got the string "big"`},
		{"typed", `{"c":"y"}`, `typed: argument c: expected one of "x", 3, null, got the string "y"`},
		{"typed", `{"p":-1}`, `typed: argument p: expected at least 0, got the number -1.0`},
		{"typed", `{"p":"10"}`, `typed: argument p: expected less than 10, got the number 10.0`},
		{"typed", `{"w":"a"}`, `typed: argument w: expected a length of at least 2, got the string "a"`},
		{"typed", `{"w":"ba"}`, `typed: argument w: expected a string that matches ^a, got the string "ba"`},
		{"typed", `{"t":[1]}`, `typed: argument t: expected 2 items, got 1`},
		{"typed", `{"v":{}}`, `typed: argument v: missing field title`},
		{"typed", `{"v":{"title":"x","year":1}}`, `typed: argument v: unknown field year; there are title`},
		{"typed", `{"e":"middle"}`, `typed: argument e: the string "middle" is none of LOW, HIGH`},
		{"typed", `{"d":"tomorrow"}`, `typed: argument d: expected a date, got the string "tomorrow"`},
		{"typed", `{"x":1}`, `typed: unknown argument x; it takes n, f, b, s, l, m, o, c, p, w, t, v, e, d`},
		{"options", `{}`, `options: missing argument o`},
		{"options", `{"o":null}`, `options: argument o: expected an object, got null`},
		{"options", `{"o":{"size":3,"name":"x","area":9}}`, `{"size":3,"name":"x","area":9}`},
		{"unions", `{"x":[1,2]}`, `"(1, 2)"`},
		{"unions", `{"x":[1,2,3]}`, `"(1, 2, 3)"`},
		{"unions", `{"x":[{"radius":1}]}`, `"[Circle(radius=1.0)]"`},
		{"unions", `{"x":{"a":{"radius":1}}}`, `"{'a': Circle(radius=1.0)}"`},
		{"unions", `{"x":"[1, 2]"}`, `"'[1, 2]'"`},
		{"unions", `{"x":[1]}`, `unions: argument x: expected Tuple[int, int] or Tuple[int, int, int] or List[Options] or List[Circle] or Dict[str, Options] or Dict[str, Circle] or int or str, got a list`},
		{"guarded", `{"x":{}}`, `'no validator'`},
		{"letters", `{"n":2}`, `"ab"`},
		{"still_letters", `{"n":2}`, `["a","b"]`},
	} {
		result, err := client.CallJSON(t.Context(), test.function, json.RawMessage(test.arguments))
		shown := string(result)
		if failed := (*rpc.CallError)(nil); errors.As(err, &failed) {
			shown = failed.Message
		}
		assert.Equal(t, test.want, shown, "%s %s", test.function, test.arguments)
	}
	_, err := client.CallJSON(t.Context(), "echo", json.RawMessage(`[1]`))
	require.ErrorContains(t, err, "a call takes one JSON object of arguments")
}

// Structs and values that write themselves hold keys, not tags.
func TestGoSendsKeysAsKeys(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "keys", "@expose\ndef show(x): return repr(x)\n")
	type tagged struct {
		Set []int `json:"$set"`
	}
	for want, given := range map[string]any{
		`{'$set': [1]}`:           tagged{[]int{1}},
		`{'a': {'$date': 'x'}}`:   json.RawMessage(`{"a":{"$date":"x"}}`),
		`{'$float': 'nan'}`:       json.RawMessage("{\"\\u0024float\": \"nan\"}"),
		`[{'$bytes': 5, 'b': 1}]`: []any{map[string]any{"$bytes": 5, "b": 1}},
		`(1, 2)`:                  rpc.Value(`{"$tuple":[1,2]}`),
	} {
		var shown string
		require.NoError(t, client.Call(t.Context(), "show", map[string]any{"x": given}, &shown))
		assert.Equal(t, want, shown)
	}
}
