package mcpserver_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

// A line that is no message is answered as such, and the next one is read.
func TestStreamsWithNoise(t *testing.T) {
	server := mcpserver.New("test", mcpserver.Tools{Functions: echoes{{Name: "text"}}}, mcpserver.Options{})
	inReader, in := io.Pipe()
	out, outWriter := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- server.Serve(within(t), inReader, outWriter) }()
	answers := bufio.NewScanner(out)
	exchange := func(line string) map[string]any {
		_, err := io.WriteString(in, line+"\n")
		require.NoError(t, err)
		require.True(t, answers.Scan(), "no answer to %q", line)
		var answer map[string]any
		require.NoError(t, json.Unmarshal(answers.Bytes(), &answer))
		return answer
	}
	const initialize = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}`
	assert.Contains(t, exchange("\ufeff"+initialize), "result", "a byte order mark")
	_, err := io.WriteString(in, "\r\n\n\ufeff\n"+`{"jsonrpc":"2.0","method":"notifications/initialized"}`+"\r\n")
	require.NoError(t, err)
	for i, test := range []struct {
		line string
		code float64
	}{
		{"Loading the model...", -32700},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/`, -32700},
		{`{"jsonrpc":"2.0","id":1,"method":"ping"} and more`, -32700},
		{`[]`, -32700},
		{`[1, {}]`, -32600},
		{`5`, -32600},
		{`null`, -32600},
		{`"text"`, -32600},
		{`{}`, -32600},
		{`{"jsonrpc":"1.0","id":1,"method":"ping"}`, -32600},
		{`{"jsonrpc":"2.0","id":{},"method":"ping"}`, -32600},
		{`{"jsonrpc":"2.0","id":1,"method":5}`, -32600},
		{strings.Repeat("[", 20_000), -32700},
		{strings.Repeat("x", 65<<20), -32700},
		{"\x00\xff\xfe", -32700},
	} {
		answer := exchange(test.line)
		shown := fmt.Sprintf("%.60q", test.line)
		failed, _ := answer["error"].(map[string]any)
		require.NotNil(t, failed, shown)
		assert.InDelta(t, test.code, failed["code"], 0, shown)
		assert.Nil(t, answer["id"], shown)
		if test.line == `[1, {}]` {
			require.True(t, answers.Scan()) // one answer for each
		}
		answer = exchange(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"text"}}`, i+1))
		assert.InDelta(t, float64(i+1), answer["id"], 0, "after %s", shown)
		assert.Contains(t, answer, "result", "after %s", shown)
	}
	_, err = io.WriteString(in, `{"jsonrpc":"2.0","id":99,"me`)
	require.NoError(t, err)
	require.NoError(t, in.Close())
	require.True(t, answers.Scan(), "half a line at the end is answered too")
	assert.Contains(t, answers.Text(), "-32700")
	require.NoError(t, <-served)
	require.NoError(t, server.Close())
}
