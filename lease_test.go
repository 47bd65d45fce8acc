package seer_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

const leaseFile = "/dev/shm/seer/lease"

// leaseEnd is when the lease of a sandbox ends, by its own clock.
func leaseEnd(t *testing.T, sandbox *seer.Sandbox) time.Time {
	t.Helper()
	text, err := sandbox.ReadFile(t.Context(), leaseFile)
	require.NoError(t, err)
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	require.NoError(t, err)
	return time.Unix(seconds, 0)
}

// Who finds a sandbox whose program was killed has its own lease to work with,
// not what is left of the other.
func TestFromIDRenewsTheLeaseAtOnce(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	id, kill := startForgetful(t, server, "10m")
	kill()
	began := time.Now().Truncate(time.Second)
	find := func(lease time.Duration) *seer.Sandbox {
		found, err := seer.FromID(t.Context(), id, backend, seer.WithLease(lease))
		require.NoError(t, err)
		return found
	}
	looking := find(-1)
	require.WithinRange(t, leaseEnd(t, looking), began, began.Add(11*time.Minute), "looking at it changes nothing")
	first := find(time.Hour)
	end := leaseEnd(t, looking)
	require.False(t, end.Before(began.Add(time.Hour)))
	second := find(time.Minute)
	assert.Equal(t, end, leaseEnd(t, looking), "and nobody shortens it")

	require.NoError(t, second.Close())
	text, err := looking.ReadFile(t.Context(), leaseFile)
	require.NoError(t, err)
	assert.Equal(t, "none\n", string(text))
	third := find(time.Hour)
	text, err = looking.ReadFile(t.Context(), leaseFile)
	require.NoError(t, err)
	assert.Equal(t, "none\n", string(text), "a lease is lifted for good")
	require.NoError(t, looking.Close())
	terminate(t, third)
	terminate(t, first)
}

func TestRenewingALeaseThatIsBeingLifted(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{})
	script, err := os.ReadFile("scripts/lease.sh")
	require.NoError(t, err)
	require.NoError(t, sandbox.WriteFile(t.Context(), "/root/lease.sh", script))
	out, err := sandbox.Exec(t.Context(), fmt.Sprintf(`
		for round in $(seq 30); do
			rm -f %[1]s
			for i in 1 2 3 4 5 6; do sh /root/lease.sh 60 & done
			sh /root/lease.sh none &
			for i in 1 2 3 4 5 6; do sh /root/lease.sh 60 & done
			wait
			cat %[1]s
		done | sort | uniq -c`, leaseFile))
	require.NoError(t, err)
	assert.Equal(t, "30 none", strings.TrimSpace(out))
}

// A sandbox that was started without a lease does not get one from a program
// that comes to use it, which may be killed before the first one ends.
func TestASandboxWithoutALeaseKeepsNone(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	const runOut = "mkdir -p /dev/shm/seer && echo 1 >" + leaseFile // the sandbox's own command may come later
	without := startOn(t, server, seer.SandboxConfig{}, seer.WithLease(-1))
	_, err := without.Exec(t.Context(), runOut)
	require.NoError(t, err)
	// The second one is looked after later than the first.
	with := startOn(t, server, seer.SandboxConfig{})
	_, err = with.Exec(t.Context(), runOut)
	require.NoError(t, err)
	require.ErrorContains(t, with.Wait(within(t, patience)), "lease")
	_, err = without.Exec(t.Context(), "true")
	require.NoError(t, err)
}

func TestReapSparesWhatAnotherProgramUses(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	id, kill := startForgetful(t, server, "-1s")
	user, err := seer.FromID(t.Context(), id, backend)
	require.NoError(t, err)
	kill()
	ended, err := seer.Reap(t.Context(), backend)
	require.NoError(t, err)
	require.Empty(t, ended)
	_, err = user.Exec(t.Context(), "echo 1 >"+leaseFile) // as if the user were gone for long
	require.NoError(t, err)
	ended, err = seer.Reap(t.Context(), backend)
	require.NoError(t, err)
	require.Len(t, ended, 1)
	assert.Equal(t, id, ended[0].ID)
	terminate(t, user)
}

func TestReapEndsTheOthersWhenOneCannotBeAsked(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	ids := make([]string, 2)
	for i := range ids {
		var kill func()
		ids[i], kill = startForgetful(t, server, "-1s")
		kill()
	}
	server.Fail("TaskExecStart", errors.New("injected"), 1)
	ended, err := seer.Reap(t.Context(), backend)
	var failed *seer.SandboxError
	require.ErrorAs(t, err, &failed)
	require.ErrorContains(t, err, "injected")
	require.Len(t, ended, 1)
	assert.ElementsMatch(t, ids, []string{failed.SandboxID, ended[0].ID})
	assert.Equal(t, []string{failed.SandboxID}, server.Sandboxes(), "what cannot be asked is not ended")
	ended, err = seer.Reap(t.Context(), backend)
	require.NoError(t, err)
	require.Len(t, ended, 1)
}
