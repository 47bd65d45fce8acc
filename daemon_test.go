package seer_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

func TestServicesStartWhileTheirAddressesAreLookedUp(t *testing.T) {
	for name, config := range map[string]seer.SandboxConfig{
		"Jupyter": {ExecutionMode: seer.ModeNotebook},
		"VS Code": {Debug: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute/2) // less than addresses may take
			defer cancel()
			server := seertest.NewServer(t)
			server.HandleExec(func(e seertest.Exec) seertest.Result {
				cancel()
				<-e.Context.Done()
				return seertest.Result{Signal: 9}
			})
			server.Stall("SandboxGetTunnels", 1)
			_, err := seer.NewSandbox(config, seer.WithBackend(server.Backend())).Start(ctx)
			require.ErrorIs(t, err, context.Canceled)
			assert.Empty(t, server.Sandboxes())
			assert.Zero(t, callsByRPC(server.Calls())["TaskExecStdinWrite"], "a service's order needs no call of its own")
		})
	}
}
