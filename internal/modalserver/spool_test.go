package modalserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func readAll(t *testing.T, s *spool, offset int64) ([]byte, error) {
	t.Helper()
	var all []byte
	buffer := make([]byte, 100_000)
	for {
		n, err := s.read(t.Context(), buffer, offset+int64(len(all)))
		if err != nil {
			return all, err
		}
		all = append(all, buffer[:n]...)
	}
}

func TestSpoolKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	s := newSpool(dir)
	want := make([]byte, 3*spoolMemory+11)
	_, err := io.ReadFull(pattern{}, want)
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.fill(bytes.NewReader(want))
	}()
	for range 2 {
		got, err := readAll(t, s, 0)
		require.ErrorIs(t, err, io.EOF)
		assert.True(t, bytes.Equal(want, got))
	}
	<-done
	s.release()
	_, err = s.read(t.Context(), make([]byte, 1), 0)
	require.ErrorIs(t, err, errReleased)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestSpoolEndsWithTheFirstReason(t *testing.T) {
	s := newSpool(t.TempDir())
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
}

func TestSpoolReaderGivesUp(t *testing.T) {
	s := newSpool(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.read(ctx, make([]byte, 1), 0)
	require.ErrorIs(t, err, context.Canceled)
}

// A writer that nobody reads from stops instead of filling the disk.
func TestSpoolHoldsBackAWriterFarAhead(t *testing.T) {
	s := newSpool(t.TempDir())
	s.size, s.furthest = spoolAhead+1, 0 // as after that many bytes
	wrote := make(chan error, 1)
	go func() {
		_, err := s.Write([]byte("x"))
		wrote <- err
	}()
	select {
	case err := <-wrote:
		require.FailNow(t, "the write did not wait", "%v", err)
	default:
	}
	s.end(io.EOF)
	require.ErrorIs(t, <-wrote, io.ErrClosedPipe)
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
	s := newSpool(filepath.Join(t.TempDir(), "nothing"))
	reader, writer := io.Pipe()
	filled := make(chan struct{})
	go func() {
		defer close(filled)
		s.fill(reader)
	}()
	_, err := io.CopyN(writer, pattern{}, 3*spoolMemory)
	require.NoError(t, err)
	require.NoError(t, writer.Close())
	<-filled
	p := make([]byte, 2*spoolMemory)
	n, err := s.read(t.Context(), p, 0)
	require.NoError(t, err)
	assert.Equal(t, spoolMemory, n)
	_, err = s.read(t.Context(), p, int64(n))
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
