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

// TestLargeResults sends 100 MiB through the tunnel, to Go and to the library.
// Nobody on the way holds more than a few copies, the server in between none.
func TestLargeResults(t *testing.T) {
	t.Parallel()
	const size = 100 << 20
	scoped := startScoped(t, seer.SandboxConfig{})
	tools := serveText(t, scoped, "tools", "@expose\ndef big(size: int) -> str: return 'x' * size\n")

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	text, err := seer.CallAs[string](within(t, patience), tools, "big", map[string]any{"size": size})
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	assert.Len(t, text, size)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(5*size), "all that was ever allocated for it")

	out := execText(t, localSession(t, tools.Library()), fmt.Sprintf(`
import re, tools
assert len(tools.big(%d)) == %[1]d
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])`, size))
	assert.Less(t, kibibytes(t, out), 5*size>>10, "at the peak")

	status, err := scoped.Exec(t.Context(), `grep VmHWM "/proc/$(pgrep -o -f '^[^ ]+ /run/seer/functions/server$')/status"`)
	require.NoError(t, err)
	assert.Less(t, kibibytes(t, strings.Fields(status)[1]), size>>10, "the server passes it on")
}

func kibibytes(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	require.NoError(t, err)
	t.Log(n>>10, "MiB")
	return n
}
