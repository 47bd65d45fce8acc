//go:build linux

package linux_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/longtest"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

// writers write without end what is only right in an order. Each says with its
// first line that there is something to look at.
var writers = map[string]string{
	"sqlite delete": `python3 -c "$SQLITE" delete`,
	"sqlite wal":    `python3 -c "$SQLITE" wal`,
	"renames": `mkdir -p /usr/local/order; i=0; while :; do i=$((i+1))
		echo $i >/root/A.new; mv /root/A.new /root/A; echo $i >/usr/local/order/B.new; mv /usr/local/order/B.new /usr/local/order/B
		[ $i = 3 ] && echo ready; done`,
	"git": `cd /root/git-load; i=0; while :; do i=$((i+1)); mkdir -p $((i%7)); seq $i $((i+300)) >$((i%7))/$((i%31))
		git add -A; git commit -qm $i; [ $((i%9)) = 0 ] && git gc -q --prune=now; [ $i = 3 ] && echo ready; done`,
	"stores": `python3 -c "$STORES"`,
	"shells": `i=0; while :; do i=$((i+1)); (echo $i >/root/first.new; mv /root/first.new /root/first)
		python3 -c 'import subprocess; subprocess.run(["sh", "-c", "cp /root/first /root/second.new; mv /root/second.new /root/second"])'
		[ $i = 2 ] && echo ready; done`,
}

const sqliteWriter = `
import os, sqlite3, sys, time
mode = sys.argv[1]
db = sqlite3.connect(f"/root/{mode}.db", isolation_level=None)
db.execute(f"pragma journal_mode={mode}")
db.execute("pragma synchronous=off")
db.execute("create table a (n integer primary key, pad)")
db.execute("create table b (n integer primary key, pad)")
for i in range(1, 10**9):
    db.execute("begin")
    db.execute("insert into a values (?, ?)", (i, "x" * (i * 37 % 3000)))
    db.execute("insert into b values (?, ?)", (i, "y" * (i * 53 % 3000)))
    if i > 500:
        db.execute("update a set pad = '' where n = ?", (i - 500,))
    db.execute("commit")
    with open(f"/root/{mode}.new", "w") as f:
        f.write(str(i))
    os.rename(f"/root/{mode}.new", f"/root/{mode}.done")
    time.sleep(0.002) # the other writers need their share
    if i == 3:
        print("ready", flush=True)
`

const storeWriter = `
import mmap, os, struct, time
maps = []
for name in "/root/stores.one", "/usr/local/stores.two":
    f = os.open(name, os.O_RDWR | os.O_CREAT)
    os.ftruncate(f, 4096)
    maps.append(mmap.mmap(f, 4096))
for i in range(1, 10**9):
    for m in maps:
        struct.pack_into("Q", m, 8, i)
    if i % 1000 == 0:
        time.sleep(0.001) # the other writers need their share
    if i == 3:
        print("ready", flush=True)
`

// checker looks at what a snapshot has of each writer.
const checker = `
import sqlite3, struct, subprocess
def near(what, first, second):
    assert second <= first <= second + 1, f"{what}: {first} and {second}"
for mode in "delete", "wal":
    db = sqlite3.connect(f"/root/{mode}.db")
    assert db.execute("pragma integrity_check").fetchall() == [("ok",)], mode
    rows = [[n for n, in db.execute(f"select n from {t} order by n")] for t in "ab"]
    assert rows[0] == rows[1] == list(range(1, len(rows[0]) + 1)), mode
    near(mode, len(rows[0]), int(open(f"/root/{mode}.done").read()))
number = lambda path: int(open(path).read())
near("renames", number("/root/A"), number("/usr/local/order/B"))
near("shells", number("/root/first"), number("/root/second"))
near("stores", *[struct.unpack_from("Q", open(p, "rb").read(), 8)[0] for p in ("/root/stores.one", "/usr/local/stores.two")])
subprocess.run("cd /root/git-load; rm -f .git/index.lock .git/gc.pid; git fsck --full --strict && git log --oneline | tail -n 1 | grep -q ' 1$'", shell=True, check=True)
`

// Whatever writes meanwhile, a snapshot is of one moment: of the whole, of all
// overlays together, and of a directory.
func TestSnapshotsAreOfOneMoment(t *testing.T) {
	r := newRuntime(t)
	s := start(t, r)
	sh(t, s, `mkdir -p /root/git-load && cd /root/git-load && git init -q . && git config user.email a@b && git config user.name n && git config gc.autoDetach false`)
	for name, script := range writers {
		p, err := s.Exec(t.Context(), runtime.ExecSpec{
			Args: []string{"sh", "-c", script}, Env: []string{"SQLITE=" + sqliteWriter, "STORES=" + storeWriter},
		})
		require.NoError(t, err)
		ready := make([]byte, len("ready\n"))
		_, err = p.Stdout().Read(ready)
		require.NoError(t, err, name)
		require.Equal(t, "ready\n", string(ready), name)
		defer func() {
			assert.NoError(t, p.Signal(9))
			finish(t, p)
		}()
	}
	rounds := 20
	if longtest.Wanted() {
		rounds = 100
	}
	for i := range rounds {
		img, err := s.Snapshot(t.Context())
		require.NoError(t, err)
		restored := start(t, r, on(img))
		got := run(t, restored, "python3", "-c", checker)
		require.Zero(t, got.status, "snapshot %d: %s%s", i, got.stdout, got.stderr)
		require.NoError(t, restored.Terminate(t.Context()))
		require.NoError(t, r.RemoveImage(t.Context(), img.ID))
	}
	for i := range rounds / 4 {
		img, err := s.SnapshotDir(t.Context(), "/root")
		require.NoError(t, err)
		at := fmt.Sprintf("/mnt/%d", i)
		other := start(t, r)
		require.NoError(t, other.MountImage(t.Context(), at, img.ID))
		sh(t, other, `cd `+at+` && test $(sqlite3 delete.db 'pragma integrity_check') = ok && test $(sqlite3 wal.db 'pragma integrity_check') = ok &&
			a=$(cat first) b=$(cat second) && test $((a-b)) -ge 0 -a $((a-b)) -le 1 &&
			cd git-load && git -c safe.directory='*' fsck --full --strict`)
		require.NoError(t, other.Terminate(t.Context()))
	}
}

// standing lists the processes that are stopped or frozen.
const standing = `grep -l '^State:.T' /proc/[0-9]*/status || true`

// A snapshot that fails, is given up or comes to nothing leaves nothing standing.
func TestAFailedSnapshotThaws(t *testing.T) {
	s := start(t, newRuntime(t))
	deep := `i=0; d=/root/deep; while [ $i -lt 300 ]; do d=$d/d; i=$((i+1)); done; mkdir -p $d`
	sh(t, s, deep)
	_, err := s.Snapshot(t.Context())
	assert.ErrorContains(t, err, "lie in each other")
	_, err = s.SnapshotDir(t.Context(), "/root/deep")
	assert.ErrorContains(t, err, "lie in each other")
	assert.Equal(t, "alive\n", sh(t, s, "echo alive"))

	sh(t, s, "rm -r /root/deep; mkdir /root/many; cd /root/many; seq 5000 | xargs touch")
	for _, after := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		_, err := s.Snapshot(ctx)
		cancel()
		if err != nil { // a quick machine may have been quicker
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		}
		assert.Equal(t, "alive\n", sh(t, s, "echo alive"))
	}
	_, err = s.Snapshot(t.Context())
	require.NoError(t, err)
	assert.Empty(t, sh(t, s, standing))
}

// What a user has stopped stays stopped, and what ran goes on.
func TestSnapshotLeavesStoppedProcessesStopped(t *testing.T) {
	s := start(t, newRuntime(t))
	sh(t, s, "exec >/root/out 2>&1; sleep 1000 & echo $! >/root/stopped; kill -STOP $!; sleep 1000 & echo $! >/root/runs")
	for range 3 {
		_, err := s.Snapshot(t.Context())
		require.NoError(t, err)
	}
	assert.Equal(t, "T\nS\n", sh(t, s, "for f in stopped runs; do sed -n 's/^State:\t\\(.\\).*/\\1/p' /proc/$(cat /root/$f)/status; done"))
}

// A sandbox ends at once, also in the middle of a snapshot, which is none then.
func TestTerminateWhileFrozen(t *testing.T) {
	r := newRuntime(t)
	for range 3 {
		s := start(t, r)
		sh(t, s, "mkdir /root/many; cd /root/many; seq 5000 | xargs touch")
		done := make(chan error)
		go func() {
			_, err := s.Snapshot(context.Background())
			done <- err
		}()
		require.NoError(t, s.Terminate(t.Context()))
		if err := <-done; err != nil {
			assert.ErrorIs(t, err, runtime.ErrEnded)
		}
	}
}
