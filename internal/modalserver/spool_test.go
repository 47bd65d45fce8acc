package modalserver

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testPool is a pool of a few blocks, so that its bounds are soon reached.
func testPool(t *testing.T) *pool {
	t.Helper()
	p := newPool(t.TempDir(), newOutputBudget(1))
	t.Cleanup(p.release)
	return p
}

func readAll(t *testing.T, s *spool, offset int64) ([]byte, error) {
	t.Helper()
	var all []byte
	buffer := make([]byte, 100_000)
	for {
		n, next, err := s.read(t.Context(), buffer, offset)
		if n == 0 {
			return all, err
		}
		all, offset = append(all, buffer[:n]...), next
	}
}

func noise(t *testing.T, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	_, err := rand.Read(data)
	require.NoError(t, err)
	return data
}

func TestSpoolKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	pool := newPool(dir, newOutputBudget(0))
	s := newSpool(pool, false)
	want := noise(t, 5<<20+11)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.fill(io.NopCloser(bytes.NewReader(want)))
	}()
	for _, from := range []int64{0, 0, 1, blockSize, 5<<20 + 10} {
		got, err := readAll(t, s, from)
		require.ErrorIs(t, err, io.EOF)
		assert.True(t, bytes.Equal(want[from:], got), "from %d", from)
	}
	<-done
	assert.NotNil(t, pool.file, "the test does not reach the disk")
	pool.release()
	_, _, err := s.read(t.Context(), make([]byte, 1), 0)
	require.ErrorIs(t, err, errReleased)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Nil(t, pool.file)
	assert.Zero(t, pool.held)
	assert.Zero(t, pool.budget.used.Load())
}

func TestSpoolEndsWithTheFirstReason(t *testing.T) {
	s := newSpool(testPool(t), false)
	_, err := io.WriteString(s, "text")
	require.NoError(t, err)
	reason := errors.New("the sandbox is gone")
	s.end(reason)
	s.end(io.EOF)
	got, err := readAll(t, s, 1)
	require.ErrorIs(t, err, reason)
	assert.Equal(t, "ext", string(got))
	_, err = io.WriteString(s, "more")
	require.Error(t, err)
	_, _, err = s.read(t.Context(), make([]byte, 1), -1)
	require.ErrorIs(t, err, errNegative)
}

func TestSpoolReaderGivesUp(t *testing.T) {
	s := newSpool(testPool(t), false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.read(ctx, make([]byte, 1), 0)
	require.ErrorIs(t, err, context.Canceled)
}

// Whoever reads gets all of a stream that is far longer than what is kept; what
// is kept never is more than the bound; and what was dropped is said.
func TestSpoolIsBounded(t *testing.T) {
	pool := testPool(t)
	limit := pool.budget.sandbox
	s := newSpool(pool, false)
	want := noise(t, 4*int(limit)+7)
	var filled sync.WaitGroup
	filled.Go(func() { s.fill(io.NopCloser(bytes.NewReader(want))) })
	defer filled.Wait()
	var got []byte
	buffer := make([]byte, chunkSize)
	for offset := int64(0); ; {
		n, next, err := s.read(t.Context(), buffer, offset)
		if n == 0 {
			require.ErrorIs(t, err, io.EOF)
			break
		}
		got, offset = append(got, buffer[:n]...), next
		pool.mu.Lock()
		held, unread, read, disk := pool.held, s.size-s.furthest, pool.read, pool.budget.used.Load()
		pool.mu.Unlock()
		require.LessOrEqual(t, held, limit+blockSize)
		require.LessOrEqual(t, unread, limit/unreadShare+pipeRoom)
		require.LessOrEqual(t, read, limit/readShare+blockSize)
		require.LessOrEqual(t, disk, limit+blockSize)
	}
	assert.True(t, bytes.Equal(want, got))
	_, _, err := s.read(t.Context(), buffer, 0)
	require.ErrorIs(t, err, errReleased, "what is no longer kept is not silently left out")
}

// A writer that nobody reads waits; the end of its sandbox frees it, and the
// cut is said.
func TestSpoolHoldsBackAWriterUntilTheSandboxEnds(t *testing.T) {
	pool := testPool(t)
	s := newSpool(pool, false)
	reader, writer := io.Pipe()
	var filled sync.WaitGroup
	filled.Go(func() { s.fill(reader) })
	room := pool.budget.sandbox / unreadShare
	wrote := make(chan error, 1)
	go func() {
		_, err := io.CopyN(writer, pattern{}, room+10*pipeRoom)
		wrote <- errors.Join(err, writer.Close())
	}()
	for size := int64(0); size < room; {
		pool.mu.Lock()
		changed := s.changed
		size = s.size
		pool.mu.Unlock()
		if size < room {
			<-changed
		}
	}
	select {
	case err := <-wrote:
		require.FailNow(t, "the writer did not wait", "%v", err)
	default:
	}
	pool.settle()
	require.NoError(t, <-wrote)
	filled.Wait()
	got, err := readAll(t, s, 0)
	require.ErrorIs(t, err, errNotKept)
	assert.GreaterOrEqual(t, int64(len(got)), room)
}

// Output that may be nobody's never holds its writer back.
func TestLossySpoolDropsTheOldest(t *testing.T) {
	pool := testPool(t)
	s := newSpool(pool, true)
	want := noise(t, 3*int(pool.budget.sandbox))
	s.fill(io.NopCloser(bytes.NewReader(want)))
	got, err := readAll(t, s, 100)
	require.ErrorIs(t, err, io.EOF)
	mark, kept, found := bytes.Cut(bytes.TrimPrefix(got, []byte("\n")), []byte("\n"))
	require.True(t, found)
	var dropped int
	_, err = fmt.Sscanf(string(mark), "[%d bytes of output were not kept]", &dropped)
	require.NoError(t, err, "%q", mark)
	assert.True(t, bytes.Equal(want[100+dropped:], kept))
	assert.LessOrEqual(t, int64(len(kept)), pool.budget.sandbox/unreadShare)
}

// One stream that nobody reads does not stop the others of its sandbox, nor do
// those of other sandboxes.
func TestFullPoolsStillServeWhoIsRead(t *testing.T) {
	budget := newOutputBudget(1)
	for range outputSandboxes + 1 {
		pool := newPool(t.TempDir(), budget)
		t.Cleanup(pool.release)
		for range unreadShare {
			s := newSpool(pool, false)
			var filled sync.WaitGroup
			filled.Go(func() { s.fill(io.NopCloser(io.LimitReader(pattern{}, budget.sandbox))) })
			defer filled.Wait()
			defer s.release()
		}
		read := newSpool(pool, false)
		want := noise(t, 1<<20)
		go read.fill(io.NopCloser(bytes.NewReader(want)))
		got, err := readAll(t, read, 0)
		require.ErrorIs(t, err, io.EOF)
		require.True(t, bytes.Equal(want, got))
	}
	assert.LessOrEqual(t, budget.used.Load(), budget.sandbox*outputSandboxes)
}

func TestBuildLog(t *testing.T) {
	log := newBuildLog()
	_, err := io.WriteString(log, "one\ntwo\nthr")
	require.NoError(t, err)
	lines, next, more := log.read(t.Context(), 0)
	assert.Equal(t, []string{"one\n", "two\n"}, lines)
	assert.True(t, more)
	_, err = io.WriteString(log, "ee")
	require.NoError(t, err)
	assert.Equal(t, "one\ntwo\nthree", log.tail())
	log.end()
	lines, next, more = log.read(t.Context(), next)
	assert.Equal(t, []string{"three"}, lines)
	assert.False(t, more)
	lines, _, _ = log.read(t.Context(), next)
	assert.Empty(t, lines)
	for range keptLogLines {
		_, err = io.WriteString(log, "more\n")
		require.NoError(t, err)
	}
	lines, next, _ = log.read(t.Context(), 0)
	assert.Len(t, lines, keptLogLines)
	assert.EqualValues(t, keptLogLines+3, next)
	_, err = log.Write(bytes.Repeat([]byte("é"), maxLogLine))
	require.NoError(t, err)
	for _, line := range log.lines[len(log.lines)-2:] {
		assert.NotContains(t, line, "\uFFFD")
	}
}

func TestSpoolThatCannotKeepLetsTheWriterGoOn(t *testing.T) {
	pool := newPool(filepath.Join(t.TempDir(), "nothing"), newOutputBudget(1))
	s := newSpool(pool, false)
	reader, writer := io.Pipe()
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		s.fill(reader)
	}()
	_, err := io.CopyN(writer, pattern{}, 3<<20)
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	<-filled
	got, err := readAll(t, s, 0)
	assert.NotEmpty(t, got)
	require.ErrorIs(t, err, errNotKept)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestStoreSharedByTwo(t *testing.T) {
	dir := t.TempDir()
	for name, open := range map[string]func() (*store, *store){
		"on disk": func() (*store, *store) {
			a, err := openStore(dir)
			require.NoError(t, err)
			b, err := openStore(dir)
			require.NoError(t, err)
			return a, b
		},
		"in memory": func() (*store, *store) {
			s, err := openStore("")
			require.NoError(t, err)
			return s, s
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := open()
			_, err := a.get(kindApp, "x")
			require.ErrorIs(t, err, errNoRecord)
			first, err := getOrCreate(a, kindApp, "x", []byte("from a"))
			require.NoError(t, err)
			second, err := getOrCreate(b, kindApp, "x", []byte("from b"))
			require.NoError(t, err)
			assert.Equal(t, "from a", string(first))
			assert.Equal(t, first, second)
			require.NoError(t, b.put(kindApp, "x", []byte("changed")))
			require.NoError(t, b.put(kindApp, "X", []byte("another")))
			got, err := a.get(kindApp, "x")
			require.NoError(t, err)
			assert.Equal(t, "changed", string(got))
			all, err := a.list(kindApp)
			require.NoError(t, err)
			assert.Len(t, all, 2)
			require.NoError(t, a.remove(kindApp, "x"))
			require.NoError(t, b.remove(kindApp, "x"))
			_, err = b.get(kindApp, "x")
			require.ErrorIs(t, err, errNoRecord)
			empty, err := a.list(kindVolume)
			require.NoError(t, err)
			assert.Empty(t, empty)
		})
	}
}
