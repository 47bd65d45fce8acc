package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

const (
	pageSize   = 4 << 10
	chunkSize  = 64 * pageSize
	maxHoles   = 1 << 40  // bytes of zeros that a stream may stand for
	roomStep   = 64 << 20 // bytes to write before the disk is asked again
	maxReserve = 1 << 30  // bytes that stay free on the disk
	reservedOf = 20       // or this part of it
)

// room is what a stream may take of the disk that it is unpacked to.
type room struct {
	dir     string
	holes   int64 // bytes that were not written, as they are zeros
	written int64 // since the disk was asked
}

// copy writes a file; pages of zeros become holes.
func (r *room) copy(f *os.File, from io.Reader) error {
	var size int64
	for buffer := make([]byte, chunkSize); ; {
		n, err := io.ReadFull(from, buffer)
		if err := r.write(f, buffer[:n], size); err != nil {
			return err
		}
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF) && n > 0 && ended(from):
			return f.Truncate(size)
		case err != nil:
			return err
		}
	}
}

// ended tells the end of a file from the end of a stream in the midst of it.
func ended(from io.Reader) bool {
	_, err := from.Read(make([]byte, 1))
	return errors.Is(err, io.EOF)
}

var errHoles = fmt.Errorf("the files have more than %d bytes of holes", int64(maxHoles))

var zeroPage [pageSize]byte

func (r *room) write(f *os.File, data []byte, at int64) error {
	for len(data) > 0 {
		n := run(data, true)
		if r.holes += int64(n); r.holes > maxHoles {
			return errHoles
		}
		data, at = data[n:], at+int64(n)
		n = run(data, false)
		if err := r.take(int64(n)); err != nil {
			return err
		}
		if _, err := f.WriteAt(data[:n], at); err != nil {
			return err
		}
		data, at = data[n:], at+int64(n)
	}
	return nil
}

// run is how many bytes of data are pages of zeros, or of anything else.
func run(data []byte, ofZeros bool) int {
	n := 0
	for n < len(data) {
		page := data[n:min(n+pageSize, len(data))]
		if bytes.Equal(page, zeroPage[:len(page)]) != ofZeros {
			break
		}
		n += len(page)
	}
	return n
}

// take asks the disk now and then whether there is room, so that a sandbox
// cannot fill it.
func (r *room) take(n int64) error {
	if r.written += n; r.written < roomStep {
		return nil
	}
	r.written = 0
	free, total := space(r.dir)
	if total > 0 && free < min(maxReserve, total/reservedOf) {
		return fmt.Errorf("the disk is all but full: %w", syscall.ENOSPC)
	}
	return nil
}
