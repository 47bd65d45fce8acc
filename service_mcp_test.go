package seer_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/longtest"
)

const typedTools = `
from dataclasses import dataclass
from typing import Literal, Optional
import asyncio

@dataclass
class Span:
    start: int
    end: int = 0

@expose
def steer(layer: int, direction: list[float], span: Span, mode: Literal["add", "ablate"] = "add", note: Optional[str] = None) -> dict[str, float]:
    """Steers a layer."""
    return {"layer": layer, "norm": sum(direction), "length": span.end - span.start}

@expose
def say(text: str) -> str:
    return text + "\n"

@expose
def numbers(to: int):
    yield from range(to)

@expose
def fail():
    raise KeyError("no such layer")

@expose
async def wait():
    await asyncio.sleep(1000)
`

func TestServiceOverMCP(t *testing.T) {
	t.Parallel()
	scoped := startScoped(t, seer.SandboxConfig{RPCTimeout: 30 * time.Second})
	tools := serveText(t, scoped, "steering", typedTools)
	server := tools.MCPConfig()["steering"]
	assert.Equal(t, "http", server.Type)
	agent := agent(t, server, nil)

	listed := map[string]*mcp.Tool{}
	for tool, err := range agent.Tools(t.Context(), nil) {
		require.NoError(t, err)
		listed[tool.Name] = tool
	}
	require.Len(t, listed, 5)
	require.Contains(t, listed, "steer")
	assert.True(t, strings.HasPrefix(listed["steer"].Description, "Steers a layer."))
	schema, err := json.Marshal(listed["steer"].InputSchema)
	require.NoError(t, err)
	var input struct { // D29
		Type       string
		Required   []string
		Properties map[string]json.RawMessage
	}
	require.NoError(t, json.Unmarshal(schema, &input))
	assert.Equal(t, "object", input.Type)
	assert.Equal(t, []string{"layer", "direction", "span"}, input.Required)
	assert.JSONEq(t, `{"type":"integer"}`, string(input.Properties["layer"]))
	assert.JSONEq(t, `{"type":"array","items":{"type":"number"}}`, string(input.Properties["direction"]))
	assert.Contains(t, string(input.Properties["mode"]), `"ablate"`)
	assert.Contains(t, string(schema), `"start"`)

	steered := call(t, agent, "steer", map[string]any{"layer": 3, "direction": []float64{1, 2}, "span": map[string]any{"start": 1, "end": 4}})
	assert.False(t, steered.IsError)
	assert.JSONEq(t, `{"layer":3,"norm":3,"length":3}`, words(t, steered))
	assert.Equal(t, "hi\n", words(t, call(t, agent, "say", map[string]any{"text": "hi"})), "text is text")
	assert.JSONEq(t, `[0,1,2]`, words(t, call(t, agent, "numbers", map[string]any{"to": 3})))

	failed := call(t, agent, "fail", nil)
	assert.True(t, failed.IsError)
	assert.Equal(t, "call fail: KeyError: 'no such layer'", words(t, failed))
	for _, arguments := range []map[string]any{nil, {"layer": "x"}, {"nothing": 1}} {
		assert.True(t, call(t, agent, "steer", arguments).IsError)
	}
	_, err = agent.CallTool(t.Context(), &mcp.CallToolParams{Name: "open", Arguments: map[string]any{"path": "/etc/hostname"}})
	require.Error(t, err, "only what is exposed is a tool")

	require.NoError(t, tools.Close())
	assert.Nil(t, tools.MCPConfig())
	again, err := scoped.Service(t.Context(), "steering")
	require.NoError(t, err, "the service serves on")
	assert.NotEmpty(t, again.MCPConfig())
}

func TestServiceWithTheProtocolsInspector(t *testing.T) {
	longtest.Only(t)
	t.Parallel()
	program := inspector(t)
	server := serveText(t, startScoped(t, seer.SandboxConfig{}), "steering", typedTools).MCPConfig()["steering"]
	inspect := func(arguments ...string) string {
		arguments = append([]string{"--cli", server.URL, "--transport", "http", "--header", "Authorization: " + server.Headers["Authorization"]}, arguments...)
		cmd := exec.CommandContext(within(t, 2*time.Minute), program, arguments...)
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		require.NoError(t, err, "%s", complaints.Bytes())
		return string(out)
	}
	assert.Contains(t, inspect("--method", "tools/list"), `"ablate"`)
	out := inspect("--method", "tools/call", "--tool-name", "steer",
		"--tool-arg", "layer=3", "--tool-arg", "direction=[1, 2]", "--tool-arg", `span={"start": 1, "end": 4}`)
	assert.Contains(t, out, `\"norm\":3`)
}
