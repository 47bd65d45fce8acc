package modalserver

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// defaultOutput is how many bytes of output are kept of a sandbox.
	defaultOutput = 256 << 20
	// The parts of it: what one stream may hold that nobody has read, what all
	// of them may hold that has been read, and what lies in memory.
	unreadShare, readShare, memoryShare = 4, 4, 64
	// outputSandboxes is how many sandboxes may use all of theirs at once.
	outputSandboxes = 8

	blockSize = 64 << 10 // bytes
)

var errNotKept = errors.New("output cannot be kept")

// outputBudget bounds what the outputs of all sandboxes of a server take up on disk.
type outputBudget struct {
	sandbox int64 // bytes for each sandbox
	used    atomic.Int64
}

func newOutputBudget(perSandbox int64) *outputBudget {
	if perSandbox <= 0 {
		perSandbox = defaultOutput
	}
	return &outputBudget{sandbox: max(perSandbox, memoryShare*blockSize)}
}

func (b *outputBudget) take() bool {
	if b.used.Add(blockSize) <= b.sandbox*outputSandboxes {
		return true
	}
	b.used.Add(-blockSize)
	return false
}

// pool keeps the outputs of one sandbox: a little in memory, the rest in blocks
// of one file. What has been read gives way to what has not, the oldest first.
type pool struct {
	dir    string // of the file; "" = the system's
	budget *outputBudget

	mu      sync.Mutex // guards the spools too
	spools  []*spool   // oldest first; those that hold something
	held    int64      // bytes that blocks take up
	memory  int64      // bytes of blocks in memory
	read    int64      // bytes held that have been read
	over    bool       // the sandbox has ended: nobody waits any more
	changed chan struct{}

	file *os.File // nil = nothing is on disk
	end  int64    // of the file
	free []int64  // offsets of blocks in it
}

// block is a piece of a spool.
type block struct {
	start  int64  // in the spool
	size   int    // bytes in use
	memory []byte // nil = in the file
	at     int64  // in the file
}

func (b *block) end() int64 { return b.start + int64(b.size) }

func newPool(dir string, budget *outputBudget) *pool {
	return &pool{dir: dir, budget: budget, changed: make(chan struct{})}
}

// notifyLocked wakes the writers that wait for room.
func (p *pool) notifyLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// growLocked puts as much of data at the end of a spool as there is room for.
func (p *pool) growLocked(s *spool, data []byte) (int, error) {
	if n := len(s.blocks); n > 0 {
		if last := s.blocks[n-1]; last.size < blockSize && (last.memory == nil || n == 1 || p.memory < p.budget.sandbox/memoryShare) {
			return p.extendLocked(last, data)
		}
	}
	next, err := p.blockLocked(s)
	if next == nil || err != nil {
		return 0, err
	}
	if len(s.blocks) == 0 {
		p.spools = append(p.spools, s)
	}
	s.blocks = append(s.blocks, next)
	return p.extendLocked(next, data)
}

func (p *pool) extendLocked(b *block, data []byte) (int, error) {
	data = data[:min(len(data), blockSize-b.size)]
	if b.memory == nil {
		if _, err := p.file.WriteAt(data, b.at+int64(b.size)); err != nil {
			return 0, fmt.Errorf("%w: %w", errNotKept, err)
		}
	} else {
		b.memory = append(b.memory, data...)
		p.memory += int64(len(data))
		p.held += int64(len(data))
	}
	b.size += len(data)
	return len(data), nil
}

// blockLocked returns an empty block for a spool, or nil if there is no room.
// One that holds nothing always gets one, so that who is read goes on.
func (p *pool) blockLocked(s *spool) (*block, error) {
	if p.held+blockSize > p.budget.sandbox {
		p.dropReadLocked(p.read - blockSize)
	}
	b := &block{start: s.size}
	full := p.held+blockSize > p.budget.sandbox
	switch {
	case len(s.blocks) == 0 && (full || p.memory < p.budget.sandbox/memoryShare),
		!full && p.memory+blockSize <= p.budget.sandbox/memoryShare:
		b.memory = []byte{}
		return b, nil
	case full:
		return nil, nil
	}
	var err error
	b.at, err = p.allocateLocked()
	if errors.Is(err, errNoRoom) {
		p.dropReadLocked(0)
		b.at, err = p.allocateLocked()
	}
	if errors.Is(err, errNoRoom) {
		if len(s.blocks) > 0 {
			return nil, nil
		}
		b.memory = []byte{}
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	p.held += blockSize
	return b, nil
}

// errNoRoom says that other sandboxes have used up the disk.
var errNoRoom = errors.New("no room for output")

func (p *pool) allocateLocked() (int64, error) {
	if n := len(p.free); n > 0 {
		at := p.free[n-1]
		p.free = p.free[:n-1]
		return at, nil
	}
	if !p.budget.take() {
		return 0, errNoRoom
	}
	if p.file == nil {
		file, err := os.CreateTemp(p.dir, "output-*")
		if err != nil {
			p.budget.used.Add(-blockSize)
			return 0, fmt.Errorf("%w: %w", errNotKept, err)
		}
		// Without a name it vanishes with the process, however that ends. Where
		// an open file cannot be removed, closing it does it.
		_ = os.Remove(file.Name())
		p.file = file
	}
	at := p.end
	p.end += blockSize
	return at, nil
}

// dropLocked gives up the first n blocks of a spool.
func (p *pool) dropLocked(s *spool, n int) {
	for _, b := range s.blocks[:n] {
		p.read -= max(0, min(s.furthest, b.end())-b.start)
		if b.memory == nil {
			p.free = append(p.free, b.at)
			p.held -= blockSize
		} else {
			p.memory -= int64(b.size)
			p.held -= int64(b.size)
		}
		s.base = b.end()
	}
	s.blocks = slices.Delete(s.blocks, 0, n)
	s.furthest = max(s.furthest, s.base)
	if len(s.blocks) == 0 {
		p.spools = slices.DeleteFunc(p.spools, func(other *spool) bool { return other == s })
	}
	if int64(len(p.free))*blockSize == p.end {
		p.closeFileLocked()
	}
	p.notifyLocked()
}

// closeFileLocked gives the disk back what no block needs.
func (p *pool) closeFileLocked() {
	if p.file == nil {
		return
	}
	_ = p.file.Close()
	_ = os.Remove(p.file.Name())
	p.budget.used.Add(-p.end)
	p.file, p.end, p.free = nil, 0, nil
}

// dropReadLocked gives up what has been read, the oldest spools first, until
// at most keep bytes of it are left.
func (p *pool) dropReadLocked(keep int64) {
	for _, s := range slices.Clone(p.spools) {
		if p.read <= keep {
			return
		}
		n := 0
		for _, b := range s.blocks {
			if b.end() > s.furthest {
				break
			}
			n++
		}
		if n > 0 {
			p.dropLocked(s, n)
		}
	}
}

// advanceLocked notes how far a spool has been read.
func (p *pool) advanceLocked(s *spool, to int64) {
	to = min(to, s.size)
	if to <= s.furthest {
		return
	}
	p.read += to - s.furthest
	s.furthest = to
	if limit := p.budget.sandbox / readShare; p.read > limit {
		p.dropReadLocked(limit)
	}
	p.notifyLocked()
}

// settle says that the sandbox has ended: writers wait no longer, and what has
// been read is given up.
func (p *pool) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.dropReadLocked(0)
	p.notifyLocked()
}

// release gives up everything.
func (p *pool) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, s := range slices.Clone(p.spools) {
		s.releaseLocked()
	}
	p.closeFileLocked()
	p.notifyLocked()
}
