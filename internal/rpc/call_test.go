//go:build unix

package rpc_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

func TestValuesFromGo(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "values", "@expose\ndef echo(value): return value\n@expose\ndef kind(value): return repr(value)\n")
	moment := time.Date(2024, 2, 29, 12, 30, 15, 5000, time.FixedZone("", 3600))
	type inner struct {
		Name  string  `json:"name"`
		Score float64 `json:"score"`
	}
	for _, test := range []struct {
		given  any
		python string
		into   any
		back   any
	}{
		{nil, "None", new(any), nil},
		{math.NaN(), "nan", new(float64), math.NaN()},
		{math.Inf(-1), "-inf", new(any), math.Inf(-1)},
		{[]float64{1.5, math.Inf(1)}, "[1.5, inf]", new([]float32), []float32{1.5, float32(math.Inf(1))}},
		{[]byte{0, 255}, `b'\x00\xff'`, new([]byte), []byte{0, 255}},
		{[]any{[]byte("x"), 1}, `[b'x', 1]`, new([]any), []any{[]byte("x"), 1.0}},
		{moment, "datetime.datetime(2024, 2, 29, 12, 30, 15, 5, tzinfo=datetime.timezone(datetime.timedelta(seconds=3600)))", new(time.Time), moment},
		{-90 * time.Second, "datetime.timedelta(days=-1, seconds=86310)", new(time.Duration), -90 * time.Second},
		{complex(1, -2), "(1-2j)", new(complex128), complex(1, -2)},
		{map[string]any{"$a": 1, "b": []byte("y")}, "", new(map[string]any), map[string]any{"$a": 1.0, "b": []byte("y")}},
		{map[int]string{7: "x"}, "{7: 'x'}", new(map[int]string), map[int]string{7: "x"}},
		{inner{"a", 0.5}, "{'name': 'a', 'score': 0.5}", new(inner), inner{"a", 0.5}},
		{map[string]any{"name": "n", "score": math.Inf(1)}, "{'name': 'n', 'score': inf}", new(inner), inner{"n", math.Inf(1)}},
		{[]*inner{nil, {"b", 1}}, "[None, {'name': 'b', 'score': 1}]", new([]*inner), []*inner{nil, {"b", 1}}},
		{uint64(math.MaxUint64), "18446744073709551615", new(uint64), uint64(math.MaxUint64)},
		{"\u2028</script>\U0001f600", "'\\u2028</script>\U0001f600'", new(string), "\u2028</script>\U0001f600"},
		{json.RawMessage(`{"a":[1]}`), "{'a': [1]}", new(json.RawMessage), json.RawMessage(`{"a":[1]}`)},
		{rpc.Value(`{"$tuple":[1,{"$set":[2]}]}`), "(1, {2})", new(any), []any{1.0, []any{2.0}}},
	} {
		name := fmt.Sprintf("%T %v", test.given, test.given)
		var shown string
		require.NoError(t, client.Call(t.Context(), "kind", map[string]any{"value": test.given}, &shown), name)
		if test.python != "" {
			assert.Equal(t, test.python, shown, name)
		}
		require.NoError(t, client.Call(t.Context(), "echo", map[string]any{"value": test.given}, test.into), name)
		got := reflect.ValueOf(test.into).Elem().Interface()
		switch back := got.(type) {
		case float64:
			assert.InDelta(t, test.back, back, 0, name) // NaN equals itself here
		case time.Time:
			assert.WithinDuration(t, moment, back, 0, name)
		default:
			assert.Equal(t, test.back, got, name)
		}
	}
	require.Error(t, client.Call(t.Context(), "echo", map[string]any{"value": make(chan int)}, nil))
	require.ErrorContains(t, client.Call(t.Context(), "echo", map[string]any{"value": "x"}, new(int)), "decode result")
}

// An MCP tool's answer: plain JSON, whatever the Python value is.
func TestPlainJSON(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "plain", `
import datetime, enum, math, dataclasses
class Color(enum.Enum):
    RED = 1
@dataclasses.dataclass
class P:
    x: float
@expose
def all():
    return {"t": (1, 2), "s": {3}, "b": b"hi", "n": math.nan, "d": datetime.date(2024, 1, 2), 5: Color.RED,
            "p": P(-math.inf), "td": datetime.timedelta(minutes=1), "$x": None}
@expose
def stream(n: int):
    for i in range(n): yield (i, b"x")
`)
	var raw json.RawMessage
	require.NoError(t, client.Call(t.Context(), "all", nil, &raw))
	assert.JSONEq(t, `{"t":[1,2],"s":[3],"b":"aGk=","n":"NaN","d":"2024-01-02","5":1,"p":{"x":"-Infinity"},"td":60.0,"$x":null}`, string(raw))
	require.NoError(t, client.Call(t.Context(), "stream", map[string]any{"n": 2.0}, &raw))
	assert.JSONEq(t, `[[0,"eA=="],[1,"eA=="]]`, string(raw))
	require.NoError(t, client.Call(t.Context(), "stream", map[string]any{"n": 0}, &raw))
	assert.JSONEq(t, `[]`, string(raw))
}

func TestArgumentsByName(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "args", "@expose\ndef f(a, /, b=2, *args: int, c=3, **kw): return [a, b, list(args), c, kw]\n@expose\ndef g(a): return a\n")
	call := func(kwargs map[string]any) string {
		var raw json.RawMessage
		if err := client.Call(t.Context(), "f", kwargs, &raw); err != nil {
			return err.Error()
		}
		return string(raw)
	}
	assert.Equal(t, `[1,2,[],3,{}]`, call(map[string]any{"a": 1}))
	assert.Equal(t, `[1,2,[7,8],3,{}]`, call(map[string]any{"a": 1, "args": []int{7, 8}}))
	assert.Equal(t, `[1,2,[],3,{"x":1,"a":2}]`, call(map[string]any{"a": 1, "x": 1, "kw": map[string]any{"a": 2}}))
	assert.Contains(t, call(nil), "TypeError: f: missing argument a")
	assert.Contains(t, call(map[string]any{"a": 1, "args": 5}), "f: *args takes a list")
	assert.Contains(t, call(map[string]any{"a": 1, "kw": 5}), "f: **kw takes an object")
	assert.Contains(t, call(map[string]any{"a": 1, "c": 1, "kw": map[string]any{"c": 2}}), "f: c was given twice")
	var failed *rpc.CallError
	require.ErrorAs(t, client.Call(t.Context(), "g", map[string]any{"a": 1, "z": 1, "y": 2}, nil), &failed)
	assert.Equal(t, "g: unknown argument y, z; it takes a", failed.Message)
	require.ErrorAs(t, client.Call(t.Context(), "nothing", nil, nil), &failed)
	assert.Equal(t, "UnknownFunction", failed.Type)
}

func TestStreams(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "streams", `
@expose
def count(n: int):
    try:
        for i in range(n): yield i
    finally:
        print("closed after", i)
@expose
def one(): return "only"
@expose
def fails():
    yield 1
    raise ValueError("second")
@expose
def dies():
    yield 1
    __import__("os")._exit(4)
`)
	var got []int
	for value, err := range client.CallStream(t.Context(), "count", map[string]any{"n": 3}) {
		require.NoError(t, err)
		var n int
		require.NoError(t, value.Decode(&n))
		got = append(got, n)
	}
	assert.Equal(t, []int{0, 1, 2}, got)
	require.NoError(t, client.Call(t.Context(), "count", map[string]any{"n": 2}, &got))
	assert.Equal(t, []int{0, 1}, got)
	for value, err := range client.CallStream(t.Context(), "one", nil) {
		require.NoError(t, err)
		assert.Equal(t, `"only"`, string(value))
	}
	for _, err := range client.CallStream(t.Context(), "count", map[string]any{"n": 1000000000}) {
		require.NoError(t, err)
		break
	}
	waitForLog(t, server, "streams", "closed after")
	for function, kind := range map[string]string{"fails": "ValueError", "dies": "ServiceCrashed"} {
		var items int
		var last error
		for _, err := range client.CallStream(t.Context(), function, nil) {
			if last = err; err == nil {
				items++
			}
		}
		var failed *rpc.CallError
		require.ErrorAs(t, last, &failed)
		assert.Equal(t, kind, failed.Type)
		assert.Equal(t, 1, items)
	}
}

// A stream that ends in an error is a whole answer: whoever asks next on its
// connection is answered too.
func TestAStreamThatFailsKeepsItsConnection(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	serve(t, server, "streams", `
import os, time
@expose
def raises():
    yield 1
    raise ValueError("second")
@expose
def stalls():
    yield 1
    time.sleep(3600)
@expose
def dies():
    yield 1
    os._exit(4)
`)
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.Split(server.ServiceURL("streams"), "/")[2])
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	answers := bufio.NewReader(conn)
	for _, call := range []struct{ function, timeout, kind string }{
		{"raises", "60", "ValueError"}, {"stalls", "1", "TimeoutError"}, {"dies", "60", "ServiceCrashed"}, {"raises", "60", "ValueError"},
	} {
		_, err := fmt.Fprintf(conn, "POST /s/streams/call/%s HTTP/1.1\r\nAuthorization: Bearer token-of-streams\r\nX-Seer-Timeout: %s\r\nContent-Length: 2\r\n\r\n{}", call.function, call.timeout)
		require.NoError(t, err)
		answer, err := http.ReadResponse(answers, nil)
		require.NoError(t, err, call.function)
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err, call.function)
		require.NoError(t, answer.Body.Close())
		assert.Contains(t, string(body), call.kind)
	}
}

func TestConcurrencyAndSerial(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "work", `
import threading
barrier = threading.Barrier(8)
inside = 0
@expose
def together():
    return barrier.wait(20)
@expose(serial=True)
def alone():
    global inside
    inside += 1
    seen = inside
    for _ in range(2000): pass
    inside -= 1
    return seen
import asyncio
gate = None
@expose
async def meet():
    global gate
    gate = gate or asyncio.Barrier(4) if hasattr(asyncio, "Barrier") else None
    if gate: await gate.wait()
    return True
`)
	var calls errgroup.Group
	var mutex sync.Mutex
	places := map[int]bool{}
	for range 8 {
		calls.Go(func() error {
			var place int
			err := client.Call(t.Context(), "together", nil, &place)
			mutex.Lock()
			places[place] = true
			mutex.Unlock()
			return err
		})
	}
	require.NoError(t, calls.Wait())
	assert.Len(t, places, 8, "eight calls ran at the same time")
	for range 32 {
		calls.Go(func() error {
			var inside int
			err := client.Call(t.Context(), "alone", nil, &inside)
			if err == nil && inside != 1 {
				err = fmt.Errorf("%d calls at once", inside)
			}
			return err
		})
	}
	for range 4 {
		calls.Go(func() error { return client.Call(t.Context(), "meet", nil, nil) })
	}
	require.NoError(t, calls.Wait())
}

func TestTimeoutAndCancellation(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	source := `
import asyncio, time
@expose
def spin(word):
    try:
        print("begin", word)
        while True: time.sleep(0.005)
    finally:
        print("end", word)
@expose
async def wait(word):
    try:
        print("begin", word)
        await asyncio.sleep(3600)
    finally:
        print("end", word)
@expose
def stream(word):
    try:
        print("begin", word)
        yield 1
        while True: time.sleep(0.005)
    finally:
        print("end", word)
@expose(serial=True)
def serial(word):
    print("begin", word)
    while word == "first": time.sleep(0.005)
    return word
@expose
def quick(): return 1
`
	client, _ := serve(t, server, "cancel", source)
	for _, function := range []string{"spin", "wait", "stream"} {
		t.Run(function, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var call errgroup.Group
			call.Go(func() error { return client.Call(ctx, function, map[string]any{"word": "cancelled " + function}, nil) })
			waitForLog(t, server, "cancel", "begin cancelled "+function)
			cancel()
			require.ErrorIs(t, call.Wait(), context.Canceled)
			waitForLog(t, server, "cancel", "end cancelled "+function)
		})
	}

	ctx, cancel := context.WithCancel(t.Context())
	var first errgroup.Group
	first.Go(func() error { return client.Call(ctx, "serial", map[string]any{"word": "first"}, nil) })
	waitForLog(t, server, "cancel", "begin first")
	cancel()
	require.Error(t, first.Wait())
	var word string
	require.NoError(t, client.Call(t.Context(), "serial", map[string]any{"word": "second"}, &word), "a cancelled call lets go of its lock")

	client, _ = serveSpec(t, server, rpc.Spec{Name: "timed", Source: source, Timeout: 50 * time.Millisecond})
	for _, function := range []string{"spin", "wait", "stream"} {
		word := "timed " + function
		begun := func() bool {
			err := client.Call(t.Context(), function, map[string]any{"word": word}, nil)
			var failed *rpc.CallError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, "TimeoutError", failed.Type)
			for line, err := range server.Logs(t.Context(), "timed", 0, false) {
				require.NoError(t, err)
				if line.Line == "begin "+word {
					return true
				}
			}
			return false
		}
		for tries := 1; !begun(); tries++ { // a busy machine may need all of its time to get to the function
			require.Less(t, tries, 100, "%s never began", word)
		}
		waitForLog(t, server, "timed", "end "+word)
	}
	require.ErrorIs(t, client.Call(t.Context(), "spin", map[string]any{"word": "x"}, nil), context.DeadlineExceeded)
}

// Callers of a serial function that give up together leave it usable: one that
// waited may get its turn just when its cancellation arrives.
func TestSerialAfterManyCancellations(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "turns", `
import time
@expose(serial=True)
def serial(word):
    print("begin", word)
    while word: time.sleep(0.001)
`)
	for round := range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		word := fmt.Sprint("round ", round)
		var calls errgroup.Group
		for range 8 {
			calls.Go(func() error { return client.Call(ctx, "serial", map[string]any{"word": word}, nil) })
		}
		waitForLog(t, server, "turns", "begin "+word)
		cancel()
		require.ErrorIs(t, calls.Wait(), context.Canceled)
		require.NoError(t, client.Call(t.Context(), "serial", map[string]any{"word": ""}, nil))
	}
}

func TestVeryLongTimeout(t *testing.T) {
	server := startServer(t, newest(t).path)
	client, _ := serveSpec(t, server, rpc.Spec{Name: "patient", Timeout: 1000 * time.Hour, Source: "@expose\ndef f(): return 1\n"})
	require.NoError(t, client.Call(t.Context(), "f", nil, nil))
}

func TestLargeResultsAndRequests(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, description := serveSpec(t, server, rpc.Spec{Name: "model_tools", MaxRequest: 3 << 20, Source: `
@expose
def text(n: int) -> str: return "x" * n
@expose
def numbers(n: int) -> list: return [0.5] * n
@expose
def data(n: int) -> bytes: return b"\xff" * n
@expose
def size(x) -> int: return len(x)
`})
	const hundred = 100 << 20
	var text json.RawMessage
	require.NoError(t, client.Call(t.Context(), "text", map[string]any{"n": hundred}, &text))
	assert.Len(t, text, hundred+2)
	var data []byte
	require.NoError(t, client.Call(t.Context(), "data", map[string]any{"n": 2 << 20}, &data))
	assert.Len(t, data, 2<<20)
	var size int
	require.NoError(t, client.Call(t.Context(), "size", map[string]any{"x": strings.Repeat("y", 2<<20)}, &size))
	assert.Equal(t, 2<<20, size)
	var failed *rpc.CallError
	require.ErrorAs(t, client.Call(t.Context(), "size", map[string]any{"x": strings.Repeat("y", 4<<20)}, &size), &failed)
	assert.Equal(t, "RequestTooLarge", failed.Type)
	out := runPython(t, newest(t).path, installLibrary(t, description), libraryEnv(server, "model_tools"), `
import model_tools
print(len(model_tools.text(100 << 20)), len(model_tools.numbers(300_000)), len(model_tools.data(20 << 20)))
print(model_tools.size([0.5] * 100_000))
`)
	assert.Equal(t, "104857600 300000 20971520\n100000\n", out)
}

// Malformed requests by someone with the token get JSON errors too.
func TestMalformedRequests(t *testing.T) {
	server := startServer(t, newest(t).path)
	serve(t, server, "strict", "@expose\ndef f(**kw): return kw\n")
	address := strings.Split(server.ServiceURL("strict"), "/")[2]
	auth := "Authorization: Bearer token-of-strict\r\n"
	deep := strings.Repeat("[", 200000)
	for _, test := range []struct{ request, status, kind string }{
		{"nonsense\r\n\r\n", "400", "BadRequest"},
		{"GET / HTTP/3.0\r\n\r\n", "400", "BadRequest"},
		{"GET /" + strings.Repeat("a", 20000) + " HTTP/1.1\r\n\r\n", "400", "BadRequest"},
		{"GET / HTTP/1.1\r\n" + strings.Repeat("A: b\r\n", 200) + "\r\n", "400", "BadRequest"},
		{"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400", "BadRequest"},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + "Content-Length: -1\r\n\r\n", "400", "BadRequest"},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "400", "BadRequest"},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", "411", "BadRequest"},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + "Content-Length: 99999999999\r\n\r\n{}", "413", "RequestTooLarge"},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + "Content-Length: 2\r\n\r\n[]", "400", "BadRequest"},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + "Content-Length: 3\r\n\r\n{\"a", "400", "BadRequest"},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + "Content-Length: 17\r\n\r\n{\"$bytes\": \"!!\"}}", "400", "BadRequest"},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(deep)) + deep, "400", "BadRequest"},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + "X-Seer-Timeout: soon\r\nContent-Length: 2\r\n\r\n{}", "400", "BadRequest"},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + "X-Seer-Timeout: 1e9\r\nContent-Length: 2\r\n\r\n{}", "200", `{"result":{}}`},
		{"POST /s/strict/call/f HTTP/1.1\r\n" + auth + "X-Seer-Timeout: nan\r\nContent-Length: 2\r\n\r\n{}", "200", `{"result":{}}`},
		{"OPTIONS * HTTP/1.1\r\n\r\n", "401", "Unauthorized"},
		{"CONNECT a:1 HTTP/1.1\r\n" + auth + "\r\n", "401", "Unauthorized"},
		{"GET /admin/services/strict/logs?after=" + strings.Repeat("9", 5000) + " HTTP/1.1\r\nAuthorization: Bearer " + controlToken + "\r\n\r\n", "400", "BadRequest"},
		{"DELETE /s/strict/call/f HTTP/1.1\r\n" + auth + "\r\n", "404", "NotFound"},
		{"POST /s/strict/call/f HTTP/1.0\r\n" + auth + "Content-Length: 2\r\n\r\n{}", "200", `{"result":{}}`},
		{"POST /s/strict/call/f HTTP/1.1\r\nConnection: close\r\nExpect: 100-continue\r\n" + auth + "Content-Length: 2\r\n\r\n{}", "100 Continue\r\n\r\nHTTP/1.1 200", `{"result":{}}`},
	} {
		answer := exchangeRaw(t, address, test.request)
		assert.Contains(t, answer, "HTTP/1.1 "+test.status, "%.80q", test.request)
		assert.Contains(t, answer, test.kind, "%.80q", test.request)
	}
	require.NoError(t, server.Health(t.Context()))
}
