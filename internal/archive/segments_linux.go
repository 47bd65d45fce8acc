package archive

import (
	"errors"
	"os"
	"syscall"
)

// lseek(2) finds data and holes so.
const (
	seekData = 3
	seekHole = 4
)

// segments are the parts of a file that are no holes; nil = it has none, in so
// many pieces that they are not worth it, or nobody can tell.
func segments(f *os.File, size int64) []segment {
	data := []segment{}
	for at := int64(0); at < size; {
		start, err := f.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) || err == nil && start >= size {
			break // a hole up to the end
		}
		if err != nil {
			return rewound(f, nil)
		}
		end, err := f.Seek(start, seekHole)
		if err != nil {
			return rewound(f, nil)
		}
		data = append(data, segment{offset: start, length: min(end, size) - start})
		if len(data) > maxSegments || start == 0 && end >= size {
			return rewound(f, nil)
		}
		at = end
	}
	if size == 0 {
		data = nil
	}
	return rewound(f, data)
}

// rewound returns data, or nil where the file cannot be read from its beginning.
func rewound(f *os.File, data []segment) []segment {
	if _, err := f.Seek(0, 0); err != nil {
		return nil
	}
	return data
}
