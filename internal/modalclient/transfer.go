package modalclient

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

const (
	complaintLimit = 8 << 10 // bytes of a helper's stderr that are kept

	// tarLastWord follows what tar really has to say.
	tarLastWord = "tar: Exiting with failure status due to previous errors\n"
)

var (
	//go:embed scripts/write.sh
	writeScript string
	//go:embed scripts/unpack.sh
	unpackScript string
	//go:embed scripts/pack.sh
	packScript string
	//go:embed scripts/splice.sh
	spliceScript string
)

// ErrChanged means that somebody else has written a file in the meantime.
var ErrChanged = errors.New("file has changed")

// tarMember finds what tar could not unpack.
var tarMember = regexp.MustCompile(`^tar: (.+): Cannot `)

// outcome is how a helper command ended.
type outcome struct {
	code, signal int
	stderr       string
}

func (o outcome) failed() bool { return o.code != 0 || o.signal != 0 }

// complaint is the last line that the command wrote to stderr.
func (o outcome) complaint() string {
	text := strings.TrimSpace(strings.TrimSuffix(o.stderr, tarLastWord))
	if text == "" {
		if o.signal != 0 {
			return fmt.Sprintf("killed by signal %d", o.signal)
		}
		return fmt.Sprintf("exit status %d", o.code)
	}
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// run runs a helper command to its end. A stdin that cannot be read cuts the
// command off, so that it never takes half of its input for all of it.
func (s *Sandbox) run(ctx context.Context, spec ExecSpec, stdin io.Reader, stdout io.Writer) (outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	spec.Stdin = stdin != nil
	p, err := s.Exec(ctx, spec)
	if err != nil {
		return outcome{}, err
	}
	var streams sync.WaitGroup
	stderr := &tail{limit: complaintLimit}
	streams.Go(func() { _, _ = io.Copy(stderr, p.Stderr) }) // Wait reports what matters
	if stdin != nil {
		streams.Go(func() {
			if err := p.input.feed(stdin); err != nil {
				cancel(err)
			}
		})
	}
	if _, err := io.Copy(stdout, p.Stdout); err != nil {
		cancel(err)
	}
	code, signal, err := p.Wait(ctx)
	if err != nil {
		cancel(err) // the feeder may still wait for a command that will not read
	}
	streams.Wait()
	if err == nil {
		err = context.Cause(ctx)
	}
	return outcome{code: code, signal: signal, stderr: stderr.String()}, err
}

// feed sends all of r and then the end, in as few messages as it takes. That
// the command stops reading is its own affair.
func (in *input) feed(r io.Reader) error {
	var chunk bytes.Buffer
	for last := false; !last; {
		chunk.Reset()
		n, err := chunk.ReadFrom(io.LimitReader(r, stdinChunk))
		if err != nil {
			return err
		}
		last = n < stdinChunk
		if err := in.send(chunk.Bytes(), last); err != nil {
			return ignoreDone(err)
		}
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, ErrProcessDone) {
		return nil
	}
	return err
}

// helper runs a constant script on a path and turns its complaint into a *fs.PathError.
func (s *Sandbox) helper(ctx context.Context, op, name string, args []string, stdin io.Reader, stdout io.Writer) error {
	if err := checkPath(op, name); err != nil {
		return err
	}
	result, err := s.run(ctx, ExecSpec{Args: args}, stdin, stdout)
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	return result.pathError(op, name)
}

// pathError maps the words of strerror(3), in which POSIX tools report, to Go's errors.
func (o outcome) pathError(op, name string) error {
	if !o.failed() {
		return nil
	}
	complaint := o.complaint()
	if member := tarMember.FindStringSubmatch(complaint); op == "upload" && member != nil {
		name = path.Join(name, member[1])
	}
	for _, known := range []struct {
		words string
		err   error
	}{
		{"No such file or directory", fs.ErrNotExist},
		{"Directory nonexistent", fs.ErrNotExist},
		{"Permission denied", fs.ErrPermission},
		{"Operation not permitted", fs.ErrPermission},
		{"File exists", fs.ErrExist},
		{"Is a directory", syscall.EISDIR},
		{"Not a directory", syscall.ENOTDIR},
		{"Directory not empty", syscall.ENOTEMPTY},
		{"No space left on device", syscall.ENOSPC},
		{"Read-only file system", syscall.EROFS},
		{"File name too long", syscall.ENAMETOOLONG},
		{"Too many levels of symbolic links", syscall.ELOOP},
	} {
		if strings.Contains(complaint, known.words) {
			return &fs.PathError{Op: op, Path: name, Err: known.err}
		}
	}
	return &fs.PathError{Op: op, Path: name, Err: errors.New(complaint)}
}

func checkPath(op, name string) error {
	if name == "" || strings.ContainsRune(name, 0) {
		return &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return nil
}

// operand keeps a relative path from being read as an option or as stdin.
func operand(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "./" + name
}

// WriteFile stores what r yields, making parent directories. It is atomic: a
// reader of the file sees the old contents or the new, and a write that fails
// leaves the old. A mode of 0 keeps that of an existing file, else 0644.
// A symbolic link is followed.
func (s *Sandbox) WriteFile(ctx context.Context, name string, r io.Reader, mode fs.FileMode) error {
	wanted := ""
	if mode != 0 {
		wanted = fmt.Sprintf("%o", unixMode(mode))
	}
	return s.helper(ctx, "write", name, []string{"sh", "-c", writeScript, "seer", operand(name), wanted}, r, io.Discard)
}

// Splice replaces a file, atomically, by its first head bytes, what r yields and
// its last tail bytes, size bytes in all, and returns the identity of the new
// file. Unless identity is "", it is that of the old one, or ErrChanged.
func (s *Sandbox) Splice(ctx context.Context, name string, head, tail, size int, identity string, r io.Reader) (string, error) {
	const op = "write"
	if err := checkPath(op, name); err != nil {
		return "", err
	}
	var made bytes.Buffer
	args := []string{"sh", "-c", spliceScript, "seer", operand(name), strconv.Itoa(head), strconv.Itoa(tail), strconv.Itoa(size), identity}
	result, err := s.run(ctx, ExecSpec{Args: args}, r, &made)
	const changed = 9
	switch {
	case err != nil:
		return "", fmt.Errorf("%s %s: %w", op, name, err)
	case result.code == changed:
		return "", fmt.Errorf("%s %s: %w", op, name, ErrChanged)
	}
	return strings.TrimSpace(made.String()), result.pathError(op, name)
}

func unixMode(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: 0o4000, fs.ModeSetgid: 0o2000, fs.ModeSticky: 0o1000} {
		if mode&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

// ReadFile returns the contents of a file.
func (s *Sandbox) ReadFile(ctx context.Context, name string) ([]byte, error) {
	var data bytes.Buffer
	if err := s.helper(ctx, "read", name, []string{"cat", "--", operand(name)}, nil, &data); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// EnsureDir makes a directory and its parents. One that exists is no error.
func (s *Sandbox) EnsureDir(ctx context.Context, name string) error {
	return s.helper(ctx, "mkdir", name, []string{"mkdir", "-p", "--", operand(name)}, nil, io.Discard)
}

// Upload unpacks a tar stream below a directory, making it if need be. Files
// belong to the sandbox's user, with the modes of the archive. It fails where
// one of the files named here, relative to dir, is a directory in the sandbox.
func (s *Sandbox) Upload(ctx context.Context, archive io.Reader, dir string, files ...string) error {
	args := append([]string{"sh", "-c", unpackScript, "seer", operand(dir)}, files...)
	return s.helper(ctx, "upload", dir, args, archive, io.Discard)
}

// Download returns a tar stream of a file or a directory. A directory's
// entries are named "./" and below; a file's one entry is its base name. What
// the sandbox sends is not to be trusted. Close ends the transfer.
func (s *Sandbox) Download(ctx context.Context, name string) (io.ReadCloser, error) {
	const op = "download"
	if err := checkPath(op, name); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	p, err := s.Exec(ctx, ExecSpec{Args: []string{"sh", "-c", packScript, "seer", operand(path.Clean(name))}})
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("%s %s: %w", op, name, err)
	}
	d := &download{ctx: ctx, cancel: cancel, process: p, name: name, stderr: &tail{limit: complaintLimit}}
	d.streams.Go(func() { _, _ = io.Copy(d.stderr, p.Stderr) })
	return d, nil
}

// download is a tar stream that ends well only if tar did.
type download struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	process *Process
	name    string
	streams sync.WaitGroup
	stderr  *tail
	err     error
}

func (d *download) Read(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	n, err := d.process.Stdout.Read(p)
	if errors.Is(err, io.EOF) {
		err = d.finish()
	}
	d.err = err
	return n, err
}

// finish turns the end of the stream into io.EOF or tar's complaint.
func (d *download) finish() error {
	code, signal, err := d.process.Wait(d.ctx)
	if err != nil {
		return fmt.Errorf("download %s: %w", d.name, err)
	}
	d.streams.Wait()
	result := outcome{code: code, signal: signal, stderr: d.stderr.String()}
	if code == 1 && signal == 0 && changedOnly(result.stderr) {
		return io.EOF
	}
	if err := result.pathError("download", d.name); err != nil {
		return err
	}
	return io.EOF
}

// changedOnly reports whether tar merely saw files change under it, which it
// counts as a failure and we do not.
func changedOnly(stderr string) bool {
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "file changed as we read it") && !strings.Contains(line, "File removed before we read it") {
			return false
		}
	}
	return stderr != ""
}

// Close ends the transfer and waits for what belongs to it.
func (d *download) Close() error {
	if d.err == nil {
		d.err = fs.ErrClosed
	}
	d.cancel(fs.ErrClosed)
	_, _, _ = d.process.Wait(d.ctx)
	d.streams.Wait()
	return nil
}
