package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

const (
	headSize = 1 << 20 // bytes of a file that are read before its size is told
	// unsizedLimit bounds files that hold more than they say, as those of /proc do.
	unsizedLimit = 64 << 20
	copyAttempts = 3 // of a file that shrinks while it is copied
)

// file writes one regular file, as it is at some moment: one that grows is
// copied as far as it went when its size was asked, one that shrinks is copied
// anew, and who unpacks it takes the last.
func (p *packer) file(name string, header *tar.Header) error {
	// A pipe that has taken the file's place must not make us wait.
	f, err := p.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if p.vanished(name, err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for range copyAttempts {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			p.skipped.tell(name, "became "+Kind(info.Mode()))
			return nil
		}
		if whole, err := p.content(f, header, info.Size()); whole || err != nil {
			return err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	p.skipped.tell(name, "shrinks again and again: zeros stand for its end")
	return nil
}

// content writes a file that says that it has size bytes, and reports whether
// it had them.
func (p *packer) content(f *os.File, header *tar.Header, size int64) (whole bool, err error) {
	if data := segments(f, size); data != nil {
		return p.sparse(f, header, size, data)
	}
	var head bytes.Buffer
	n, err := head.ReadFrom(io.LimitReader(f, headSize))
	if err != nil {
		return false, err
	}
	if info, err := f.Stat(); err == nil && n == headSize && size <= headSize {
		size = info.Size() // it has grown
	}
	if n == headSize && size <= headSize {
		more, err := head.ReadFrom(io.LimitReader(f, unsizedLimit))
		if err == nil && more == unsizedLimit {
			err = &fs.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("it says that it has %d bytes, and has more than %d", size, unsizedLimit)}
		}
		if err != nil {
			return false, err
		}
		size = int64(head.Len())
	}
	if n < headSize {
		size = n
	}
	header.Size = size
	if err := p.tar.WriteHeader(header); err != nil {
		return false, err
	}
	return copyPadded(p.tar, io.MultiReader(&head, f), size)
}

// copyPadded copies n bytes, with zeros for those that are not there.
func copyPadded(w io.Writer, r io.Reader, n int64) (whole bool, err error) {
	copied, err := io.CopyN(w, r, n)
	if !errors.Is(err, io.EOF) {
		return err == nil, err
	}
	_, err = io.CopyN(w, zeros{}, n-copied)
	return false, err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// segment is a part of a file that is no hole.
type segment struct{ offset, length int64 }

// maxSegments keeps the map of a file in pieces within its bounds.
const maxSegments = 1 << 16

// The places of what a header of the GNU format has of a file with holes.
const (
	blockSize           = 512
	headerChecksum      = 148
	headerType          = 156
	headerSegments      = 386 // 4 of them
	headerExtended      = 482
	headerRealSize      = 483
	extendedBlock       = 21 // segments of it
	extendedMore        = 504
	segmentNumber       = 12
	checksumSize        = 8
	inHeader            = 4
	largestOctal        = 1<<33 - 1
	base256        byte = 0x80
)

// sparse writes a file with holes in GNU's format, which archive/tar only reads.
func (p *packer) sparse(f *os.File, header *tar.Header, size int64, data []segment) (whole bool, err error) {
	var stored int64
	for _, s := range data {
		stored += s.length
	}
	head := *header
	head.Size = stored
	var blocks bytes.Buffer // with the blocks of a long name before
	if err := tar.NewWriter(&blocks).WriteHeader(&head); err != nil {
		return false, err
	}
	block := blocks.Bytes()[blocks.Len()-blockSize:]
	block[headerType] = tar.TypeGNUSparse
	list := append(data, segment{offset: size}) // where the file ends
	putSegments(block[headerSegments:], list[:min(inHeader, len(list))])
	list = list[min(inHeader, len(list)):]
	if len(list) > 0 {
		block[headerExtended] = 1
	}
	putNumber(block[headerRealSize:], size)
	putChecksum(block)
	for len(list) > 0 {
		n := min(extendedBlock, len(list))
		var more [blockSize]byte
		putSegments(more[:], list[:n])
		if list = list[n:]; len(list) > 0 {
			more[extendedMore] = 1
		}
		blocks.Write(more[:])
	}
	if err := p.tar.Flush(); err != nil {
		return false, err
	}
	if _, err := p.out.Write(blocks.Bytes()); err != nil {
		return false, err
	}
	whole = true
	for _, s := range data {
		all, err := copyPadded(p.out, io.NewSectionReader(f, s.offset, s.length), s.length)
		if err != nil {
			return false, err
		}
		whole = whole && all
	}
	_, err = io.CopyN(p.out, zeros{}, (blockSize-stored%blockSize)%blockSize)
	return whole, err
}

func putSegments(to []byte, list []segment) {
	for i, s := range list {
		putNumber(to[2*i*segmentNumber:], s.offset)
		putNumber(to[(2*i+1)*segmentNumber:], s.length)
	}
}

// putNumber writes octal digits, or bytes where those do not suffice.
func putNumber(to []byte, n int64) {
	if n <= largestOctal {
		copy(to, fmt.Sprintf("%011o\x00", n))
		return
	}
	for i := segmentNumber - 1; i > 0; i-- {
		to[i] = byte(n)
		n >>= 8
	}
	to[0] = base256
}

func putChecksum(block []byte) {
	field := block[headerChecksum : headerChecksum+checksumSize]
	copy(field, "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(field, fmt.Sprintf("%06o\x00 ", sum))
}
