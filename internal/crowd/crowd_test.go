package crowd

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// failing is a listener of a process that has no descriptor left for a while.
type failing struct {
	net.Listener
	errors []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errors) > 0 {
		err := f.errors[0]
		f.errors = f.errors[1:]
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	return f.Listener.Accept()
}

func TestListenersOutliveErrors(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	crowd := New(2, 0, New(1, 0, nil))
	listener := Listen(t.Context(), &failing{l, []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, syscall.ENOBUFS, errors.New("something else"),
	}}, crowd)
	for range 2 {
		client, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		conn, err := listener.Accept()
		require.NoError(t, err)
		_, allowed := crowd.Admit(client)
		assert.False(t, allowed, "one more than the crowd around this one takes")
		require.NoError(t, conn.Close())
		require.NoError(t, conn.Close(), "closed twice counts once")
	}
	require.NoError(t, listener.Close())
	_, err = listener.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	assert.Empty(t, crowd.all)
	assert.Empty(t, crowd.within.all)
}
