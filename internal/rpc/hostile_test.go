//go:build unix

package rpc_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

// Connections that say nothing take each other's place, and nobody else's.
func TestSilentConnectionsBlockNobody(t *testing.T) {
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "busy", "@expose\ndef f(): return 1\n")
	address := strings.Split(server.ServiceURL("busy"), "/")[2]
	var dialer net.Dialer
	for range 3000 {
		silent, err := dialer.DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		defer silent.Close()
	}
	others := server.Client("busy", "token-of-busy")
	require.NoError(t, server.Health(t.Context()))
	for _, caller := range []*rpc.Client{client, others} {
		var result int
		require.NoError(t, caller.Call(t.Context(), "f", nil, &result))
		assert.Equal(t, 1, result)
	}
}

// What answers may be anything: it is refused where it goes on and on, and its
// redirections lead nowhere.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inner.Close()
	flood := func(w http.ResponseWriter, head, part string) {
		_, err := w.Write([]byte(head))
		for err == nil {
			_, err = w.Write([]byte(part))
		}
	}
	megabyte := strings.Repeat("x", 1<<20)
	answers := map[string]func(w http.ResponseWriter, r *http.Request){
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inner.URL, http.StatusTemporaryRedirect)
		},
		"endless error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			flood(w, "", megabyte)
		},
		"endless result": func(w http.ResponseWriter, _ *http.Request) { flood(w, `{"result":"`, megabyte) },
		"announced": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99999999999999")
			flood(w, "", megabyte)
		},
		"endless item": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			flood(w, `{"item":"`, megabyte)
		},
		"endless items": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-ndjson")
			flood(w, "", `{"item":"`+megabyte+"\"}\n")
		},
		"no result":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"result":1`)) },
		"not JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"result":]}`)) },
		"deep":       func(w http.ResponseWriter, _ *http.Request) { deep(w, 200_000) },
		"deep tags":  func(w http.ResponseWriter, _ *http.Request) { tags(w, 200_000) },
		"odd error":  func(w http.ResponseWriter, _ *http.Request) { odd(w) },
		"cut stream": func(w http.ResponseWriter, _ *http.Request) { cut(w) },
	}
	for name, answer := range answers {
		hostile := httptest.NewServer(http.HandlerFunc(answer))
		client := rpc.NewClient(hostile.URL, "x", "token", newHTTPClient(t))
		var result any
		require.Error(t, client.Call(t.Context(), "f", nil, &result), name)
		_, err := client.CallJSON(t.Context(), "f", nil)
		require.Error(t, err, name)
		assert.Less(t, len(err.Error()), 2000, name)
		if name == "redirect" || name == "endless error" || name == "announced" || name == "deep" {
			_, err = client.Describe(t.Context())
			require.Error(t, err, name)
			_, err = rpc.NewServer(hostile.URL, "token", newHTTPClient(t)).Load(t.Context(), rpc.Spec{Name: "x", Token: "t", Filename: "f"}, nil)
			require.Error(t, err, name)
		}
		hostile.CloseClientConnections()
		hostile.Close()
	}
	assert.Zero(t, reached.Load(), "no redirection was followed")
}

func deep(w http.ResponseWriter, depth int) {
	_, _ = w.Write([]byte(`{"result":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`))
}

func tags(w http.ResponseWriter, depth int) {
	_, _ = w.Write([]byte(`{"result":` + strings.Repeat(`{"$tuple":[`, depth) + strings.Repeat("]}", depth) + `}`))
}

func odd(w http.ResponseWriter) {
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(`{"error":{"type":5,"message":[],"exceptions":{}}}`))
}

func cut(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	_, _ = w.Write([]byte("{\"item\":1}\n"))
}

type (
	Shared struct {
		ID   int    `json:"id,string"`
		Name string `json:"name"`
	}
	Deeper struct {
		*Shared
		Name string `json:"name"`
	}
	hidden struct{ Shown int }
	text   struct{ words string }
)

func (t *text) UnmarshalText(data []byte) error { t.words = "<" + string(data) + ">"; return nil }
func (t text) MarshalText() ([]byte, error)     { return []byte(t.words), nil }

// record has what makes encoding/json hard to follow.
type record struct {
	Deeper
	hidden
	Flag    bool   `json:",string"`
	Missing string `json:"-"`
	Dash    string `json:"-,"` //nolint:staticcheck // the form is what is tried
	Counts  map[int]float64
	Keys    map[text]int
	Text    text
	Raw     json.RawMessage
	Any     any
	Fixed   [2]int
	Pointer **int
	When    *time.Time
	Took    time.Duration
	Bytes   []byte
	Empty   string    `json:"empty,omitempty"`
	Zero    time.Time `json:"zero,omitzero"`
	FOLD    int
}

// A value is decoded as encoding/json does, whether or not a tag is near.
func TestDecodingWithAndWithoutTags(t *testing.T) {
	one := 1
	types := []any{
		record{}, &record{}, map[string]record{}, []record{}, Deeper{}, map[int]float64{}, map[uint8]string{}, map[text]any{},
		[]any{}, map[string]any{}, any(nil), 0, int8(0), uint(0), 0.0, float32(0), "", true, []int{}, [3]string{}, &one,
		json.Number(""), time.Time{}, []byte{}, text{}, []*text{}, struct{ A, a, B int }{},
	}
	documents := []string{
		`null`, `1`, `-1.5`, `1e3`, `300`, `1e400`, `"x"`, `"5"`, `true`, `[]`, `{}`, `[1,2,3,4]`, `["a",null]`, `{"1":2,"3":4.5}`, `{"x":1}`,
		`{"300":"a"}`, `"2024-01-02T03:04:05Z"`, `"aGk="`, `[[1],{"a":null}]`, `{"id":"7","name":"n","Shown":3,"Flag":"true"}`,
		`{"id":7}`, `{"Flag":true}`, `{"-":"d","Missing":"m"}`, `{"Counts":{"1":2.5},"Keys":{"k":1},"Text":"t","Raw":{"a":[1,2]},"Any":{"b":1}}`,
		`{"Fixed":[1],"Pointer":5,"When":"2024-01-02T03:04:05Z","Took":60,"Bytes":"aGk="}`, `{"fold":1,"FOLD":2}`, `{"NAME":"u"}`,
		`{"Pointer":null,"When":null,"Any":null,"Raw":null,"Text":null,"Took":null}`, `{"Text":5}`, `{"Fixed":{}}`, `{"A":1,"b":3}`,
		`{"Deeper":{"name":"x"},"Shared":1}`, `[{"Took":1},{"Took":2}]`,
	}
	for _, of := range types {
		kind := reflect.TypeOf(&of).Elem()
		if of != nil {
			kind = reflect.TypeOf(of)
		}
		for _, document := range documents {
			plain, tagged := reflect.New(kind), reflect.New(reflect.SliceOf(kind))
			wanted := json.Unmarshal([]byte(document), plain.Interface())
			got := rpc.Value(`{"$tuple":[` + document + `]}`).Decode(tagged.Interface())
			shown := fmt.Sprintf("%s into %s", document, kind)
			if wanted != nil {
				require.Error(t, got, shown)
				continue
			}
			require.NoError(t, got, shown)
			require.Equal(t, plain.Elem().Interface(), tagged.Elem().Index(0).Interface(), shown)
		}
	}
	var into struct {
		Deeper
		Counts map[int]float64
		Took   *time.Duration
		Nested struct{ When time.Time }
		Float  float32
		Value  rpc.Value
		Raw    json.RawMessage
	}
	require.NoError(t, rpc.Value(`{"id":"7","name":"n","Counts":{"$dict":[[1,{"$float":"inf"}]]},"Took":{"$timedelta":[0,60,0]},
		"Nested":{"When":{"$datetime":"2024-01-02T03:04:05"}},"Float":{"$float":"nan"},"Value":{"$tuple":[1]},"Raw":{"$tuple":[{"$timedelta":[0,1,0]}]}}`).Decode(&into))
	assert.Equal(t, 7, into.ID)
	assert.Equal(t, time.Minute, *into.Took)
	assert.Equal(t, 2024, into.Nested.When.Year())
	assert.NotEqual(t, into.Float, into.Float, "NaN")
	assert.JSONEq(t, `{"$tuple":[1]}`, string(into.Value))
	assert.JSONEq(t, `[1]`, string(into.Raw))
	assert.Greater(t, into.Counts[1], 1e308)
}

// What Go sends is what encoding/json writes, and more where that has no word.
func TestEncodingLikeJSON(t *testing.T) {
	t.Parallel()
	server := startServer(t, newest(t).path)
	client, _ := serve(t, server, "echo", "@expose\ndef echo(x): return x\n@expose\ndef show(x): return repr(x)\n")
	five := 5
	pointer := &five
	when := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, given := range []any{
		record{}.Text, Deeper{Shared: &Shared{1, "a"}, Name: "b"}, Deeper{}, &Deeper{Name: "c"}, struct{ A, b int }{1, 2}, []Shared{{2, "x"}},
		map[text]int{{"k"}: 1}, map[string]*int{"p": pointer, "n": nil}, struct {
			F float32
			G map[string]any `json:"g,omitempty"`
			H time.Time      `json:"h,omitzero"`
			I *int           `json:",string"`
			J any
			K json.Number
			L [2]bool
			M <-chan int `json:"-"`
			hidden
		}{F: 0.1, I: pointer, K: "12345678901234567890"}, json.RawMessage(`{"z":1,"a":[null]}`), []any{nil, "<>&\u2028", 1 << 60},
	} {
		want, err := json.Marshal(given)
		require.NoError(t, err)
		got, err := echoed(t, client, given)
		require.NoError(t, err, "%#v", given)
		assert.JSONEq(t, string(want), got, "%#v", given)
	}
	took := time.Second
	var shown string
	require.NoError(t, client.Call(t.Context(), "show", map[string]any{"x": []any{
		struct {
			When *time.Time
			Took *time.Duration
			Data []byte
			Inf  float64
		}{&when, &took, []byte("x"), -1 / zero()},
	}}, &shown))
	assert.Equal(t, "[{'When': datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), "+
		"'Took': datetime.timedelta(seconds=1), 'Data': b'x', 'Inf': -inf}]", shown)
	var loop any
	loop = []any{&loop}
	require.Error(t, client.Call(t.Context(), "show", map[string]any{"x": loop}, nil), "it contains itself")
}

func zero() float64 { return 0 }

func echoed(t *testing.T, client *rpc.Client, value any) (string, error) {
	t.Helper()
	var raw json.RawMessage
	err := client.Call(t.Context(), "echo", map[string]any{"x": value}, &raw)
	return string(raw), err
}

// Of two names that Python takes for one, a description may have neither.
func TestNamesAreThoseOfPython(t *testing.T) {
	for name, good := range map[string]bool{
		"add": true, "größe": true, "_x1": true,
		"_\uff53eer_default": false, "\uff46loat": false, "gro\u0308\u00dfe": false, "a b": false, "class": false, "1a": false,
	} {
		_, err := rpc.Library("tools", []rpc.Function{{Name: name}})
		assert.Equal(t, good, err == nil, "%q: %v", name, err)
	}
}
