//go:build linux

package linux

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Probe(t.Context(), dir))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestExplain(t *testing.T) {
	clone := fmt.Errorf("start sandbox: %w", syscall.EPERM)
	overlay := fmt.Errorf("mount overlay: %w", syscall.EINVAL)
	for name, c := range map[string]struct {
		err     error
		machine machine
		want    string // "" = nothing is added
	}{
		"no namespaces":  {fmt.Errorf("start: %w", syscall.ENOSPC), machine{settings: map[string]string{mostSetting: "0"}}, "sudo sysctl -w user.max_user_namespaces=65536"},
		"Ubuntu 24.04":   {clone, machine{settings: map[string]string{apparmorSetting: "1", mostSetting: "9"}}, "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
		"old Debian":     {clone, machine{settings: map[string]string{cloneSetting: "0"}}, "sudo sysctl -w kernel.unprivileged_userns_clone=1"},
		"Docker":         {clone, machine{root: true, container: true}, "docker run --security-opt seccomp=unconfined"},
		"overlay":        {overlay, machine{fileSystem: unix.OVERLAYFS_SUPER_MAGIC, dir: "/x"}, "docker run -v seer:/x"},
		"no overlay":     {fmt.Errorf("mount overlay: %w", syscall.ENODEV), machine{}, "sudo modprobe overlay"},
		"no veth":        {fmt.Errorf("add link eth0: %w", syscall.EOPNOTSUPP), machine{}, "sudo modprobe veth"},
		"no more keys":   {fmt.Errorf("leave session keyring: %w", syscall.EDQUOT), machine{}, "sudo sysctl -w kernel.keys.maxkeys=2000"},
		"something else": {overlay, machine{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := explain(c.err, c.machine)
			assert.ErrorIs(t, got, c.err)
			if c.want == "" {
				assert.Equal(t, c.err, got)
				return
			}
			assert.ErrorContains(t, got, "run: "+c.want)
		})
	}
}
