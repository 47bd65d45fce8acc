//go:build linux

package self

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const (
	maxFrame = 64 << 20 // bytes
	// MaxDescriptors is how many the kernel passes with one frame.
	MaxDescriptors = 253
)

// Conversation is one end of a stream of frames, each of them JSON with the
// descriptors that belong to it.
type Conversation struct{ *net.UnixConn }

// Send writes a frame. The descriptors stay the caller's.
func (c Conversation) Send(v any, fds ...int) error {
	if len(fds) > MaxDescriptors {
		return fmt.Errorf("write frame: %d descriptors are too many", len(fds))
	}
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	if len(body) > maxFrame {
		return fmt.Errorf("write frame: %d bytes are too many", len(body))
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	frame = append(frame, body...)
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	n, _, err := c.WriteMsgUnix(frame, rights, nil)
	if err == nil && n < len(frame) {
		_, err = c.Write(frame[n:])
	}
	return err
}

// Receive reads the next frame into v. The descriptors are the caller's, also
// with an error.
func (c Conversation) Receive(v any) ([]int, error) {
	var header [4]byte
	n, fds, err := readRights(c.UnixConn, header[:], MaxDescriptors)
	if err != nil {
		return fds, err
	}
	if n == 0 {
		return fds, io.EOF
	}
	if _, err := io.ReadFull(c, header[n:]); err != nil {
		return fds, err
	}
	size := binary.BigEndian.Uint32(header[:])
	if size > maxFrame {
		return fds, fmt.Errorf("read frame: %d bytes are too many", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c, body); err != nil {
		return fds, err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fds, fmt.Errorf("decode frame: %w", err)
	}
	return fds, nil
}

// readRights reads some bytes and the descriptors, at most most, with them.
func readRights(c *net.UnixConn, b []byte, most int) (int, []int, error) {
	rights := make([]byte, unix.CmsgSpace(4*most))
	n, length, flags, _, err := c.ReadMsgUnix(b, rights)
	if err != nil {
		return n, nil, err
	}
	fds, err := parseRights(rights[:length])
	if err == nil && flags&unix.MSG_CTRUNC != 0 {
		// The kernel left some out: this process may hold no more.
		err = fmt.Errorf("receive descriptors: %w", unix.EMFILE)
	}
	return n, fds, err
}

func parseRights(b []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return nil, fmt.Errorf("parse control message: %w", err)
	}
	for i := range messages {
		got, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return fds, fmt.Errorf("parse rights: %w", err)
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// Accept waits for the host's next conversation. It is io.EOF when the host is
// gone.
func Accept(control *net.UnixConn) (Conversation, error) {
	_, fds, err := readRights(control, make([]byte, 1), 1)
	if err != nil {
		CloseAll(fds)
		return Conversation{}, err
	}
	if len(fds) != 1 {
		CloseAll(fds)
		return Conversation{}, fmt.Errorf("accept conversation: %d descriptors", len(fds))
	}
	c, err := unixConn(fds[0])
	if err != nil {
		return Conversation{}, fmt.Errorf("accept conversation: %w", err)
	}
	return Conversation{c}, nil
}

// CloseAll closes descriptors; those below 0 are none.
func CloseAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// unixConn makes a connection of a socket and takes the descriptor over.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "socket")
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("not a unix socket"), c.Close())
	}
	return u, nil
}

// socketPair returns the near end as a connection and the far end as a descriptor.
func socketPair(kind int) (near *net.UnixConn, far int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("open socket pair: %w", err)
	}
	near, err = unixConn(fds[0])
	if err != nil {
		return nil, -1, errors.Join(err, unix.Close(fds[1]))
	}
	return near, fds[1], nil
}
