//go:build linux

package linux

import (
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/guest"
)

// On a kernel that gives no user namespaces root runs sandboxes without them.
func TestWithoutUserNamespaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can do without user namespaces")
	}
	r, err := New(Config{Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	r.privileges = guest.Host
	img, err := r.HostImage(t.Context())
	require.NoError(t, err)
	s, err := r.Start(t.Context(), runtime.Spec{ID: "host", Image: img.ID, Command: []string{"sleep", "infinity"}})
	require.NoError(t, err)

	for script, want := range map[string]string{
		"readlink /proc/self/ns/user":                                           readlink(t, "/proc/self/ns/user"),
		"echo x > /proc/sys/kernel/core_pattern || echo refused":                "refused\n",
		"mount -t tmpfs none /mnt || echo refused":                              "refused\n",
		"cat /proc/1/environ || echo refused":                                   "refused\n",
		"mknod /tmp/disk b 8 0 || echo refused":                                 "refused\n",
		"rm -r /usr/share/doc && echo x > /usr/share/doc && cat /usr/share/doc": "x\n",
	} {
		p, err := s.Exec(t.Context(), runtime.ExecSpec{Args: []string{"sh", "-c", script}, DiscardStderr: true})
		require.NoError(t, err)
		out, err := io.ReadAll(p.Stdout())
		require.NoError(t, err)
		assert.Equal(t, want, string(out), script)
		<-p.Done()
		for _, c := range []io.Closer{p.Stdin(), p.Stdout()} {
			require.NoError(t, c.Close())
		}
	}
}

func readlink(t *testing.T, path string) string {
	t.Helper()
	target, err := os.Readlink(path)
	require.NoError(t, err)
	return target + "\n"
}
