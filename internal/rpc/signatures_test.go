//go:build unix

package rpc_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/internal/schematest"
)

// Signatures made at random, called in every way: each call gives what Python
// itself gives, and each schema is one that strict clients take.
func TestSignaturesInEveryWay(t *testing.T) {
	t.Parallel()
	python := newest(t)
	check := schematest.New(t)
	rounds, count := 1, 150
	if longtest.Wanted() {
		rounds, count = 20, 300
	}
	server := startServer(t, python.path)
	for seed := range rounds {
		script, err := filepath.Abs("testdata/signatures.py")
		require.NoError(t, err)
		out, err := exec.CommandContext(t.Context(), python.path, script, fmt.Sprint(seed), fmt.Sprint(count)).Output()
		require.NoError(t, err)
		var made struct {
			Source, Program string
			Calls           []struct{ Function, Arguments, Want, How string }
		}
		require.NoError(t, json.Unmarshal(out, &made))
		client, description := serve(t, server, "signatures", made.Source)
		for _, function := range description.Functions {
			require.NoError(t, check.Tool(function.Name, function.InputSchema), function.Signature)
		}
		for _, call := range made.Calls {
			want, err := json.Marshal(call.Want)
			require.NoError(t, err)
			got, err := client.CallJSON(t.Context(), call.Function, json.RawMessage(call.Arguments))
			require.NoError(t, err, "seed %d: %s(%s) with %s", seed, call.Function, call.How, call.Arguments)
			require.JSONEq(t, string(want), string(got), "seed %d: %s(%s) with %s", seed, call.Function, call.How, call.Arguments)
		}
		assert.Equal(t, "ok\n", runPython(t, python.path, installLibrary(t, description), libraryEnv(server, "signatures"), made.Program))
	}
}
