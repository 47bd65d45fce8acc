package seer_test

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// The tests of large results send 100 MiB through the tunnel, to Go and to the
// library. Nobody on the way holds more than a few copies, the server in between none.
const largeResult = 100 << 20

const bigFunction = "@expose\ndef big(size: int) -> str: return 'x' * size\n"

// TestLargeResultInGo counts what the whole program allocates, so nothing runs beside it.
func TestLargeResultInGo(t *testing.T) {
	tools := serveText(t, startScoped(t, seer.SandboxConfig{}), "tools", bigFunction)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	text, err := seer.CallAs[string](within(t, patience), tools, "big", map[string]any{"size": largeResult})
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	assert.Len(t, text, largeResult)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(5*largeResult), "all that was ever allocated for it")
}

func TestLargeResultInALibrary(t *testing.T) {
	t.Parallel()
	scoped := startScoped(t, seer.SandboxConfig{})
	tools := serveText(t, scoped, "tools", bigFunction)
	out := execText(t, localSession(t, tools.Library()), fmt.Sprintf(`
import re, tools
assert len(tools.big(%d)) == %[1]d
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])`, largeResult))
	assert.Less(t, kibibytes(t, out), 5*largeResult>>10, "at the peak")

	status, err := scoped.Exec(t.Context(), `grep VmHWM "/proc/$(pgrep -o -f '^[^ ]+ /run/seer/functions/server$')/status"`)
	require.NoError(t, err)
	assert.Less(t, kibibytes(t, strings.Fields(status)[1]), largeResult>>10, "the server passes it on")
}

func kibibytes(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	require.NoError(t, err)
	t.Log(n>>10, "MiB")
	return n
}
