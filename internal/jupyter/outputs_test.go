package jupyter

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOutputsAreBounded shows many times the limit in every form, and looks for
// the beginning, the end and the word on what is missing.
func TestOutputsAreBounded(t *testing.T) {
	const limit = 1 << 20
	stream := func(name, text string) Output { return Output{Type: OutputStream, Name: name, Text: text} }
	display := func(text string) Output {
		return Output{Type: OutputDisplay, Data: MIMEBundle{"text/plain": json.RawMessage(fmt.Sprintf("%q", text))}}
	}
	wide := strings.Repeat("é", 500) + "\n"
	for name, show := range map[string]func(int) Output{
		"lines":             func(i int) Output { return stream(Stdout, fmt.Sprintf("%d %s", i, wide)) },
		"one letter a time": func(int) Output { return stream(Stdout, "x") },
		"two streams": func(i int) Output {
			return stream([]string{Stdout, Stderr}[i%2], fmt.Sprintf("%d %s", i, wide))
		},
		"displays": func(i int) Output { return display(fmt.Sprintf("%d %s", i, wide)) },
		"tiny":     func(int) Output { return display("") },
		"errors": func(int) Output {
			return Output{Type: OutputError, Err: &KernelError{Name: "E", Value: wide, Traceback: []string{wide, wide}}}
		},
		"huge pieces": func(int) Output { return stream(Stdout, strings.Repeat(wide, 20_000)) },
	} {
		t.Run(name, func(t *testing.T) {
			s := NewOutputs(limit)
			s.Add(stream(Stdout, "the beginning\n"))
			for i := range 20_000 {
				if s.Add(show(i)); s.Omitted() > 20*limit {
					break
				}
			}
			s.Add(stream(Stdout, "the end\n"))
			var size, entries int64
			for _, o := range s.List() {
				e := outputEntry{Output: o, text: []byte(o.Text)}
				size += e.bytes()
				entries++
				assert.True(t, utf8.ValidString(o.Text))
			}
			assert.LessOrEqual(t, size, int64(limit)+1000)
			assert.LessOrEqual(t, entries, int64(limit/outputCost)+2)
			list := s.List()
			assert.True(t, strings.HasPrefix(list[0].Text, "the beginning\n"))
			assert.True(t, strings.HasSuffix(list[len(list)-1].Text, "the end\n"))
			text := ""
			for _, o := range list {
				text += o.Text
			}
			if s.Omitted() > 0 {
				assert.Contains(t, text, fmt.Sprintf("[... %d bytes of output left out ...]", s.Omitted()))
			}
		})
	}
}

func TestOutputsKeepWhatFits(t *testing.T) {
	s := NewOutputs(1 << 20)
	want := strings.Repeat("0123456789", 90_000)
	for rest := want; rest != ""; rest = rest[min(len(rest), 7001):] {
		s.Add(Output{Type: OutputStream, Name: Stdout, Text: rest[:min(len(rest), 7001)]})
	}
	assert.Zero(t, s.Omitted())
	list := s.List()
	require.Len(t, list, 1, "adjacent text is one output")
	assert.Equal(t, want, list[0].Text)
}

func TestTheErrorStays(t *testing.T) {
	s := NewOutputs(64 << 10)
	for range 1000 {
		s.Add(Output{Type: OutputStream, Name: Stdout, Text: strings.Repeat("x", 1000)})
	}
	huge := strings.Repeat("y", 10<<20)
	s.Add(Output{Type: OutputError, Err: &KernelError{Name: "E", Value: huge, Traceback: []string{huge, huge, "last"}}})
	list := s.List()
	last := list[len(list)-1]
	require.Equal(t, OutputError, last.Type)
	assert.Less(t, len(last.Err.Value)+len(strings.Join(last.Err.Traceback, "")), 3*errorText+1000)
	assert.Equal(t, "last", last.Err.Traceback[len(last.Err.Traceback)-1])
}

// TestUpdatesDoNotGrow shows a display that becomes larger and larger.
func TestUpdatesDoNotGrow(t *testing.T) {
	s := NewOutputs(1 << 20)
	update := Output{Type: OutputDisplay, DisplayID: "d", Data: MIMEBundle{"text/plain": json.RawMessage(`"x"`)}}
	s.Add(update)
	update.Type = OutputUpdateDisplay
	for range 100 {
		update.Data = MIMEBundle{"text/plain": json.RawMessage(`"` + strings.Repeat("x", 2<<20) + `"`)}
		s.Add(update)
	}
	assert.Less(t, s.size+s.rest, int64(1<<20))
	assert.Positive(t, s.Omitted())
	update.Data = MIMEBundle{"text/plain": json.RawMessage(`"small"`)}
	require.True(t, s.Add(update))
	text, _ := s.List()[0].Data.Text("text/plain")
	assert.Equal(t, "small", text)
}

func TestOmissionsLeaveNoFalseEnd(t *testing.T) {
	s := NewOutputs(100_000)
	s.Add(Output{Type: OutputStream, Name: Stdout, Text: "beginning\n"})
	s.Add(Omission(1000))
	s.Add(Output{Type: OutputStream, Name: Stdout, Text: "between\n"})
	s.Add(Omission(234))
	s.Add(Output{Type: OutputStream, Name: Stdout, Text: "end\n"})
	require.Len(t, s.List(), 1)
	assert.Equal(t, "beginning\n\n[... 1242 bytes of output left out ...]\nend\n", s.List()[0].Text)
}

// TestAFloodWaitsInNoMemory puts more into a mailbox than it holds.
func TestAFloodWaitsInNoMemory(t *testing.T) {
	b := newMailbox()
	message := func(kind string, size int) *message {
		return &message{header: header{Type: kind}, content: json.RawMessage(strings.Repeat(" ", size))}
	}
	b.put(message("execute_input", 10))
	for range 1000 {
		b.put(message("stream", 100_000))
		assert.LessOrEqual(t, b.held, mailboxBytes+100_000)
	}
	b.put(message("execute_reply", 10))
	b.put(message("status", 10))
	messages, omitted, err := b.take()
	require.NoError(t, err)
	assert.Equal(t, "execute_input", messages[0].header.Type)
	assert.Equal(t, "execute_reply", messages[len(messages)-2].header.Type)
	assert.Equal(t, "stream", messages[len(messages)-3].header.Type)
	assert.Equal(t, int64(1000*100_000), omitted+int64(len(messages)-3)*100_000, "nothing is lost unsaid")

	for range 1000 {
		b.put(message("status", 100_000))
	}
	_, _, err = b.take()
	require.ErrorIs(t, err, errTooMuch)
}
