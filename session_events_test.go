package seer

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
)

var eventLines = []string{
	`{"event":"ready","pid":77}`, `{"event":"ready","pid":1}`, `{"event":"ready","pid":-9}`, `{"event":"ready","pid":"x"}`,
	`{"event":"started","id":"ID"}`, `{"event":"started"}`, `{"event":"done","id":"ID"}`, `{"event":"done"}`, `{"event":"done","id":7}`,
	`{"event":"stream","name":"stdout","text":"x"}`, `{"event":"stream","name":{},"text":[]}`, `{"event":"stream","name":"\u0000","text":"\ud800"}`,
	`{"event":"result","data":{"text/plain":"1"},"metadata":{"a":1}}`, `{"event":"result","data":[1]}`, `{"event":"result","data":null}`,
	`{"event":"display","data":{"a":{"b":[]}},"display_id":"d"}`, `{"event":"update","data":{},"display_id":"d"}`,
	`{"event":"clear","wait":true}`, `{"event":"clear"}`, `{"event":"error","name":"E","value":"v","traceback":"t"}`, `{"event":"error"}`,
	`{"event":"omitted","bytes":5}`, `{"event":"omitted","bytes":-5}`, `{"event":"omitted","bytes":9223372036854775807}`,
	`{"event":[[[[`, `[]`, `"event"`, `null`, ``, "\x00\xff", `{"event":""}`, strings.Repeat(`{"event":`, 20_000), strings.Repeat(`[`, 20_000),
}

// FuzzInterpreterEvents lets a forged writer say everything to the reader, before,
// while and after code runs.
func FuzzInterpreterEvents(f *testing.F) {
	f.Add([]byte(strings.Join(eventLines, "\n") + "\n"))
	for _, line := range eventLines {
		f.Add([]byte(line + "\n" + line + "\n"))
	}
	f.Fuzz(func(_ *testing.T, said []byte) {
		p := &pythonProcess{ready: make(chan struct{}), cell: newCell(maxIdleOutput)}
		p.read(bytes.NewReader(said), 64<<10)
		c := p.begin(64<<10, func(string) {})
		p.read(bytes.NewReader(bytes.ReplaceAll(said, []byte("ID"), []byte(c.id))), 64<<10)
		p.read(bytes.NewReader(said), 64<<10)
		_ = p.result(c).Text()
		_ = p.result(c).Err()
	})
}

// TestEventsInEveryOrder says each two things one after another, twice, in each
// state of the process.
func TestEventsInEveryOrder(t *testing.T) {
	t.Parallel()
	for _, first := range eventLines {
		for _, second := range eventLines {
			p := &pythonProcess{ready: make(chan struct{}), cell: newCell(maxIdleOutput)}
			say := func(id string) {
				lines := strings.ReplaceAll(strings.Join([]string{first, second, first, second, ""}, "\n"), "ID", id)
				p.read(strings.NewReader(lines), 64<<10)
			}
			say("")
			c := p.begin(64<<10, nil)
			say("somebody else's")
			select {
			case <-c.done:
				t.Fatal("who does not know the run ended it")
			default:
			}
			say(c.id)
			say(c.id)
			_ = p.result(c).Text()
		}
	}
}

// endless yields the same bytes for ever, up to a count.
type endless struct {
	text string
	left int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && e.left > 0 {
		m := copy(p[n:min(len(p), n+e.left)], e.text)
		n, e.left = n+m, e.left-m
	}
	return n, nil
}

func TestLinesAreBounded(t *testing.T) {
	t.Parallel()
	const limit, size = 1 << 20, 200 << 20
	after := strings.NewReader("\n" + `{"event":"stream","name":"stderr","text":"still heard"}` + "\n")
	r := newEventReader(io.MultiReader(&endless{"x", size}, after), limit)
	e, err := r.next()
	require.NoError(t, err)
	assert.Equal(t, event{Event: "omitted", Bytes: size + 1}, e)
	assert.LessOrEqual(t, cap(r.line), 2*(limit+eventRoom))
	e, err = r.next()
	require.NoError(t, err)
	o, shows := e.output()
	require.True(t, shows)
	assert.Equal(t, jupyter.Output{Type: jupyter.OutputStream, Name: "stderr", Text: "still heard"}, o)
	_, err = r.next()
	require.ErrorIs(t, err, io.EOF)
}

func TestFormsAreBounded(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range maxForms + 1 {
		fmt.Fprintf(&b, `,"%d":1`, i)
	}
	r := newEventReader(strings.NewReader(`{"event":"result","data":{`+b.String()[1:]+"}}\n"), 1<<20)
	_, err := r.next()
	require.ErrorIs(t, err, io.EOF, "it is no event")
}
