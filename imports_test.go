package seer_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/ajobi-uhc/seer-go"

// goCommand is for what only the go command can tell.
func goCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	if testing.Short() {
		t.Skip("it builds a program")
	}
	return exec.CommandContext(t.Context(), "go", args...)
}

// dependencies are all packages that a program with these imports links.
func dependencies(t *testing.T, packages ...string) []string {
	t.Helper()
	out, err := goCommand(t, append([]string{"list", "-deps"}, packages...)...).Output()
	require.NoError(t, err)
	return strings.Fields(string(out))
}

// TestAProgramThatDoesNotImportLocalDoesNotCarryIt: no server, no network
// stack, no runtime, and so no hook that re-executes the program.
func TestAProgramThatDoesNotImportLocalDoesNotCarryIt(t *testing.T) {
	for _, dep := range dependencies(t, ".") {
		for _, banned := range []string{
			module + "/internal/modalserver", module + "/internal/runtime", module + "/local", module + "/seertest",
			"gvisor.dev/", "github.com/google/go-containerregistry", "github.com/vishvananda/netlink", "testing",
		} {
			assert.False(t, dep == banned || strings.HasPrefix(dep, strings.TrimSuffix(banned, "/")+"/"), "seer links %s", dep)
		}
	}
	assert.Contains(t, dependencies(t, "./local"), module+"/internal/runtime/linux")
}

// TestTheServerKnowsNothingOfTheClient keeps the tests on the wire honest: what
// they compare with is not our own idea of it.
func TestTheServerKnowsNothingOfTheClient(t *testing.T) {
	for _, dep := range dependencies(t, "./internal/modalserver") {
		assert.NotEqual(t, module, dep)
		assert.NotEqual(t, module+"/internal/modalclient", dep)
		assert.NotEqual(t, "github.com/modal-labs/libmodal/modal-go", dep)
	}
}

// TestNoBackend: a program without the local package and without credentials
// is told the three ways out.
func TestNoBackend(t *testing.T) {
	cmd := goCommand(t, "run", "./testdata/nobackend")
	cmd.Env = append(cmd.Environ(), "MODAL_CONFIG_PATH=/nonexistent", "MODAL_TOKEN_ID=", "MODAL_TOKEN_SECRET=", "SEER_BACKEND=")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, way := range []string{"MODAL_TOKEN_ID", "seer-go/local", "SEER_BACKEND"} {
		assert.Contains(t, string(out), way)
	}
}
