package seer_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	seer "github.com/ajobi-uhc/seer-go"
)

// A list that restricts is not the same when it is empty as when there is none,
// in Go, in JSON and in YAML.
func TestAnEmptyAllowlistIsNoAllowlistAtAll(t *testing.T) {
	for _, list := range [][]string{nil, {}, {"203.0.113.0/24"}} {
		config := seer.SandboxConfig{CIDRAllowlist: list}
		asJSON, err := json.Marshal(config)
		require.NoError(t, err)
		asYAML, err := yaml.Marshal(config)
		require.NoError(t, err)
		for name, text := range map[string][]byte{"config.json": asJSON, "config.yaml": asYAML} {
			path := filepath.Join(t.TempDir(), name)
			require.NoError(t, os.WriteFile(path, text, 0o600))
			loaded, err := seer.LoadConfig(path)
			require.NoError(t, err)
			assert.Equal(t, list, loaded.CIDRAllowlist, "%s", text)
		}
	}
}

func TestASandboxThatMayReachNothing(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{CIDRAllowlist: []string{}})
	_, err := sandbox.ExecPython(t.Context(), "import socket; socket.create_connection(('203.0.113.1', 80), 5)")
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "timed out", "it is refused at once")
}
