package seer_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// leaseLeft is for how long a sandbox is kept, as its server has it.
func leaseLeft(t *testing.T, server *seertest.Server, sandboxID string) time.Duration {
	t.Helper()
	remote, err := clientOf(t, server).Sandbox(t.Context(), sandboxID)
	require.NoError(t, err)
	defer remote.Detach()
	left, err := remote.LeaseLeft(t.Context())
	require.NoError(t, err)
	return left
}

// forever is longer than any lease that ends.
const forever = 365 * 24 * time.Hour

// Who finds a sandbox whose program was killed has its own lease to work with,
// not what is left of the other.
func TestFromIDRenewsTheLeaseAtOnce(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	backend := seer.WithBackend(server.Backend())
	id, kill := startForgetful(t, server, "10m")
	kill()
	find := func(lease time.Duration) *seer.Sandbox {
		found, err := seer.FromID(t.Context(), id, backend, seer.WithLease(lease))
		require.NoError(t, err)
		return found
	}
	looking := find(-1)
	require.LessOrEqual(t, leaseLeft(t, server, id), 10*time.Minute, "looking at it changes nothing")
	first := find(10 * time.Hour)
	require.Greater(t, leaseLeft(t, server, id), 9*time.Hour)
	second := find(time.Minute)
	assert.Greater(t, leaseLeft(t, server, id), 9*time.Hour, "and nobody shortens it")

	require.NoError(t, second.Close())
	assert.Greater(t, leaseLeft(t, server, id), forever)
	third := find(time.Hour)
	assert.Greater(t, leaseLeft(t, server, id), forever, "a lease is lifted for good")
	require.NoError(t, looking.Close())
	terminate(t, third)
	terminate(t, first)
}

// On Modal the sandbox's own command keeps the lease, and this script tells it.
func TestRenewingALeaseThatIsBeingLifted(t *testing.T) {
	t.Parallel()
	sandbox := startSandbox(t, seer.SandboxConfig{})
	script, err := os.ReadFile("scripts/lease.sh")
	require.NoError(t, err)
	require.NoError(t, sandbox.WriteFile(t.Context(), "/root/lease.sh", script))
	out, err := sandbox.Exec(t.Context(), `
		for round in $(seq 30); do
			rm -f /dev/shm/seer/lease
			for i in 1 2 3 4 5 6; do sh /root/lease.sh 60 & done
			sh /root/lease.sh none &
			for i in 1 2 3 4 5 6; do sh /root/lease.sh 60 & done
			wait
			cat /dev/shm/seer/lease
		done | sort | uniq -c`)
	require.NoError(t, err)
	assert.Equal(t, "30 none", strings.TrimSpace(out))
}

// killAll is what agents send, by accident or to get away from whoever watches.
const killAll = `pkill -x sh; kill -QUIT 1; kill -HUP 1; kill -INT 1; pkill -KILL -f '[s]eer|[s]leep'; kill -TERM -1; kill -9 -1`

// Nothing in a sandbox ends it, or keeps it: its command may die, and files of
// a lease may say what they want.
func TestAnAgentNeitherEndsNorKeepsItsSandbox(t *testing.T) {
	t.Parallel()
	server := seertest.NewServer(t)
	kept := startOn(t, server, seer.SandboxConfig{}, seer.WithLease(-1))
	id, kill := startForgetful(t, server, "4s")
	leased, err := seer.FromID(t.Context(), id, seer.WithBackend(server.Backend()), seer.WithLease(-1))
	require.NoError(t, err)
	for _, sandbox := range []*seer.Sandbox{kept, leased} {
		for _, script := range []string{
			"mkdir -p /dev/shm/seer; echo 1 >/dev/shm/seer/lease",
			"pkill -f seer",
			"echo none >/dev/shm/seer/lease; mkdir -p /dev/shm/seer/lease.new /dev/shm/seer/lease.lock",
			killAll,
		} {
			_, err := sandbox.Exec(t.Context(), script)
			var ended *seer.ExitError
			if err != nil {
				require.ErrorAs(t, err, &ended, "of the shell itself")
			}
		}
		out, err := sandbox.Exec(t.Context(), "ls /dev/shm/seer; echo here")
		require.NoError(t, err)
		assert.Contains(t, out, "here")
	}
	kill()
	require.ErrorContains(t, leased.Wait(within(t, patience)), "lease")
	require.NoError(t, leased.Terminate(t.Context()))
	_, err = kept.Exec(t.Context(), "true")
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
	_, err = user.Exec(t.Context(), "mkdir -p /dev/shm/seer; echo 1 >/dev/shm/seer/lease")
	require.NoError(t, err)
	ended, err = seer.Reap(t.Context(), backend)
	require.NoError(t, err)
	require.Empty(t, ended, "the sandbox itself is not asked")
	require.NoError(t, user.Close())
	ended, err = seer.Reap(t.Context(), backend)
	require.NoError(t, err)
	require.Empty(t, ended, "a sandbox that was closed is meant to stay")

	other, kill := startForgetful(t, server, "-1s")
	kill()
	remote, err := clientOf(t, server).Sandbox(t.Context(), other)
	require.NoError(t, err)
	defer remote.Detach()
	require.NoError(t, remote.RenewLease(t.Context(), time.Nanosecond)) // of a user who is gone for long
	ended, err = seer.Reap(t.Context(), backend)
	require.NoError(t, err)
	require.Len(t, ended, 1)
	assert.Equal(t, other, ended[0].ID)
	endClosed(t, server, id)
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
	server.Fail("LeaseLeft", errors.New("injected"), 1)
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
