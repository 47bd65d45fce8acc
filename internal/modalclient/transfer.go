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
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/ajobi-uhc/seer-go/internal/shown"
)

const (
	complaintLimit = 8 << 10  // bytes of a helper's stderr that are kept
	remarksLimit   = 64 << 10 // and of tar's, which has a line for each file that changes
	// chatterLimit bounds, in bytes, what a helper may say that has nothing to say.
	chatterLimit = 1 << 20

	// tarLastWord follows what tar really has to say.
	tarLastWord = "Exiting with failure status due to previous errors"
)

var (
	//go:embed scripts/check.sh
	checkScript string
	//go:embed scripts/read.sh
	readScript string
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

var (
	// tarMember finds what tar could not pack or unpack.
	tarMember = regexp.MustCompile(`^(?:/\S*/)?tar: (.+): Cannot (?:replace: )?`)
	// tarShrank finds what had less than it said.
	tarShrank = regexp.MustCompile(`^(?:/\S*/)?tar: (.+): File shrank by \d+ bytes; padding with zeros$`)
	// tarSocket finds what tar leaves out.
	tarSocket = regexp.MustCompile(`^(?:/\S*/)?tar: (.+): socket ignored$`)
)

// outcome is how a helper command ended.
type outcome struct {
	code, signal int
	stderr       string
}

func (o outcome) failed() bool { return o.code != 0 || o.signal != 0 }

// complaint is the last line that the command wrote to stderr, but for what tar
// merely remarks.
func (o outcome) complaint() string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(o.stderr), "\n"), func(line string) bool {
		return line == "" || strings.HasSuffix(line, tarLastWord) || remarkOfTar(line)
	})
	switch {
	case len(lines) > 0:
		return lines[len(lines)-1]
	case o.signal != 0:
		return fmt.Sprintf("killed by signal %d", o.signal)
	}
	return fmt.Sprintf("exit status %d", o.code)
}

// remarkOfTar reports whether a line tells of a file that changed, vanished or
// is a socket, which tar may count as a failure and we do not.
func remarkOfTar(line string) bool {
	return strings.Contains(line, ": file changed as we read it") || strings.Contains(line, ": File removed before we read it") ||
		tarShrank.MatchString(line) || tarSocket.MatchString(line)
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
	streams.Go(func() {
		if _, err := io.Copy(stderr, p.Stderr); errors.Is(err, ErrOutputLimit) {
			cancel(err)
		} // else Wait reports what matters
	})
	if stdin != nil {
		p.input.prompt = true
		streams.Go(func() {
			if err := p.input.feed(stdin); err != nil {
				cancel(err)
			}
		})
	}
	if _, err := io.Copy(stdout, p.Stdout); err != nil { // also where it says too much
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
	if stdout == nil {
		stdout = NewBuffer(chatterLimit, nil)
	}
	result, err := s.run(ctx, ExecSpec{Args: args, Own: true}, stdin, stdout)
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
	complaint := shown.Line(o.complaint())
	why := ""
	if member := tarMember.FindStringSubmatch(complaint); member != nil {
		name = path.Join(name, member[1])
		complaint = strings.TrimPrefix(complaint, member[0])
	} else if own, found := strings.CutPrefix(complaint, "seer: "); found { // scripts/check.sh
		complaint = own
		if reason, _, found := strings.Cut(own, ": "); found {
			why = reason + ": "
		}
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
			err := known.err
			if why != "" {
				err = fmt.Errorf("%s%w", why, err)
			}
			return &fs.PathError{Op: op, Path: name, Err: err}
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
// leaves the old. A mode of 0 keeps that of an existing file, else 0644; the
// owner stays too, other names of the file keep the old contents. A symbolic
// link is followed; a special file is an error.
func (s *Sandbox) WriteFile(ctx context.Context, name string, r io.Reader, mode fs.FileMode) error {
	if last := name[strings.LastIndexByte(name, '/')+1:]; name != "" && (last == "" || last == "." || last == "..") {
		return &fs.PathError{Op: "write", Path: name, Err: fmt.Errorf("it names a directory: %w", syscall.EISDIR)}
	}
	wanted := ""
	if mode != 0 {
		wanted = fmt.Sprintf("%o", unixMode(mode))
	}
	return s.helper(ctx, "write", name, []string{"sh", "-c", checkScript + writeScript, "seer", operand(name), wanted}, r, nil)
}

// Splice replaces a file, atomically, by its first head bytes, what r yields and
// its last tail bytes, size bytes in all, and returns the identity of the new
// file. Unless identity is "", it is that of the old one, or ErrChanged.
func (s *Sandbox) Splice(ctx context.Context, name string, head, tail, size int, identity string, r io.Reader) (string, error) {
	const op = "write"
	if err := checkPath(op, name); err != nil {
		return "", err
	}
	made := NewBuffer(chatterLimit, nil)
	args := []string{"sh", "-c", spliceScript, "seer", operand(name), strconv.Itoa(head), strconv.Itoa(tail), strconv.Itoa(size), identity}
	result, err := s.run(ctx, ExecSpec{Args: args, Own: true}, r, made)
	const changed = 9
	switch {
	case err != nil:
		return "", fmt.Errorf("%s %s: %w", op, name, err)
	case result.code == changed:
		return "", fmt.Errorf("%s %s: %w", op, name, ErrChanged)
	}
	return strings.TrimSpace(string(made.Bytes())), result.pathError(op, name)
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

// ReadFile returns the contents of a file of at most 256 MiB.
func (s *Sandbox) ReadFile(ctx context.Context, name string) ([]byte, error) {
	const limit = 256 << 20
	return s.ReadAtMost(ctx, name, limit)
}

// ReadAtMost returns the contents of a file of at most limit bytes; a larger
// one is ErrOutputLimit, and a special file an error.
func (s *Sandbox) ReadAtMost(ctx context.Context, name string, limit int64) ([]byte, error) {
	data := NewBuffer(limit, nil)
	if err := s.helper(ctx, "read", name, []string{"sh", "-c", checkScript + readScript, "seer", operand(name)}, nil, data); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// EnsureDir makes a directory and its parents. One that exists is no error.
func (s *Sandbox) EnsureDir(ctx context.Context, name string) error {
	return s.helper(ctx, "mkdir", name, []string{"mkdir", "-p", "--", operand(name)}, nil, nil)
}

// Target is what an upload brings.
type Target struct {
	Name string // relative to the directory of the upload
	Dir  bool
}

// Upload unpacks a tar stream below a directory, making it if need be. Files
// belong to the sandbox's user, with the modes of the archive. It fails where
// a target that is a file meets a directory or a special file in the sandbox,
// and where one that is a directory meets anything else.
func (s *Sandbox) Upload(ctx context.Context, archive io.Reader, dir string, targets ...Target) error {
	args := []string{"sh", "-c", checkScript + unpackScript, "seer", operand(dir)}
	for _, target := range targets {
		kind := "f"
		if target.Dir {
			kind = "d"
		}
		args = append(args, kind, target.Name)
	}
	return s.helper(ctx, "upload", dir, args, archive, nil)
}

// Download returns a tar stream of a file or a directory. A directory's
// entries are named "./" and below; a file's one entry is its base name. What
// the sandbox sends is not to be trusted. Close ends the transfer. With again,
// the stream is of files that a first download said to be short: below the
// directory, or the file itself.
func (s *Sandbox) Download(ctx context.Context, name string, again ...string) (*Download, error) {
	const op = "download"
	if err := checkPath(op, name); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	args := append([]string{"sh", "-c", checkScript + packScript, "seer", operand(path.Clean(name))}, again...)
	p, err := s.Exec(ctx, ExecSpec{Args: args, Own: true})
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("%s %s: %w", op, name, err)
	}
	d := &Download{ctx: ctx, cancel: cancel, process: p, name: name, stderr: &tail{limit: remarksLimit}}
	d.streams.Go(func() {
		if _, err := io.Copy(d.stderr, p.Stderr); errors.Is(err, ErrOutputLimit) {
			cancel(err)
		}
	})
	return d, nil
}

// Download is a tar stream that ends well only if tar did.
type Download struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	process *Process
	name    string
	streams sync.WaitGroup
	stderr  *tail
	remarks []string
	err     error
}

func (d *Download) Read(p []byte) (int, error) {
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
func (d *Download) finish() error {
	code, signal, err := d.process.Wait(d.ctx)
	if err != nil {
		return fmt.Errorf("download %s: %w", d.name, err)
	}
	d.streams.Wait()
	result := outcome{code: code, signal: signal, stderr: d.stderr.String()}
	d.remarks = strings.Split(strings.TrimRight(result.stderr, "\n"), "\n")
	if d.stderr.cut() {
		d.remarks = d.remarks[1:] // half a line
	}
	if code == 1 && signal == 0 && !slices.ContainsFunc(d.remarks, func(line string) bool { return !remarkOfTar(line) }) {
		return io.EOF
	}
	if err := result.pathError("download", d.name); err != nil {
		return err
	}
	return io.EOF
}

// Short are files that had less than they said, as the sandbox tells: they
// were cut while they were read, or belong to the kernel. Zeros stand for what
// is missing. Call it after the end of the stream.
func (d *Download) Short() []string { return d.named(tarShrank) }

// Sockets are the sockets that were left out. Call it after the end of the stream.
func (d *Download) Sockets() []string { return d.named(tarSocket) }

func (d *Download) named(pattern *regexp.Regexp) []string {
	var names []string
	for _, line := range d.remarks {
		// tar writes names with backslashes that a shell would not take back.
		if match := pattern.FindStringSubmatch(line); match != nil && !strings.Contains(match[1], `\`) {
			names = append(names, match[1])
		}
	}
	return names
}

// Close ends the transfer and waits for what belongs to it.
func (d *Download) Close() error {
	if d.err == nil {
		d.err = fs.ErrClosed
	}
	d.cancel(fs.ErrClosed)
	_, _, _ = d.process.Wait(d.ctx)
	d.streams.Wait()
	return nil
}
