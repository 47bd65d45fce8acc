//go:build linux

package guest

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxFrame       = 64 << 20 // bytes
	maxDescriptors = 16       // in one frame
)

// conversation is one end of a stream of frames, each of them JSON with the
// descriptors that belong to it.
type conversation struct{ *net.UnixConn }

func (c conversation) send(v any, fds ...int) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
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

// receive reads the next frame into v. The descriptors are the caller's, also
// with an error.
func (c conversation) receive(v any) ([]int, error) {
	var header [4]byte
	rights := make([]byte, unix.CmsgSpace(4*maxDescriptors))
	n, rightsLen, _, _, err := c.ReadMsgUnix(header[:], rights)
	if err != nil {
		return nil, err
	}
	fds, err := parseRights(rights[:rightsLen])
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

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
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

// request is what the host asks for; exactly one field is set.
type request struct {
	Boot  *Config       `json:",omitempty"`
	Exec  *Command      `json:",omitempty"`
	Kill  *killRequest  `json:",omitempty"`
	Dial  *dialRequest  `json:",omitempty"`
	File  *fileRequest  `json:",omitempty"`
	Mount *mountRequest `json:",omitempty"`
	Copy  *copyRequest  `json:",omitempty"`
}

// answer is the first frame that comes back.
type answer struct {
	Failure *failure   `json:",omitempty"`
	Process int        `json:",omitempty"` // of an exec
	Infos   []fileInfo `json:",omitempty"` // of a stat or a directory
}

// exit is the second frame of an exec, when the process has ended.
type exit struct {
	Code, Signal int
}

// failure carries an error across, so that errors.Is works on the other side.
type failure struct {
	Op, Path string `json:",omitempty"`
	Errno    syscall.Errno
	Text     string `json:",omitempty"` // when there is no Errno
}

func newFailure(err error) *failure {
	f := &failure{}
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		f.Op, f.Path = pathError.Op, pathError.Path
	}
	if !errors.As(err, &f.Errno) || f.Path == "" {
		f.Text = err.Error()
	}
	return f
}

// Error is the text of the error on the other side.
func (f *failure) Error() string {
	if f.Text != "" {
		return f.Text
	}
	return f.Errno.Error()
}

// Unwrap returns the system's error, if there was one.
func (f *failure) Unwrap() error {
	if f.Errno == 0 {
		return nil
	}
	return f.Errno
}

func (f *failure) err() error {
	switch {
	case f == nil:
		return nil
	case f.Path != "" && f.Errno != 0:
		return &fs.PathError{Op: f.Op, Path: f.Path, Err: f.Errno}
	default:
		return f
	}
}

// fileInfo is an fs.FileInfo in transit.
type fileInfo struct {
	FileName    string
	FileSize    int64
	FileMode    fs.FileMode
	FileModTime time.Time
}

func newFileInfo(i fs.FileInfo) fileInfo {
	return fileInfo{FileName: i.Name(), FileSize: i.Size(), FileMode: i.Mode(), FileModTime: i.ModTime()}
}

func (i fileInfo) Name() string       { return i.FileName }
func (i fileInfo) Size() int64        { return i.FileSize }
func (i fileInfo) Mode() fs.FileMode  { return i.FileMode }
func (i fileInfo) ModTime() time.Time { return i.FileModTime }
func (i fileInfo) IsDir() bool        { return i.FileMode.IsDir() }
func (i fileInfo) Sys() any           { return nil }
