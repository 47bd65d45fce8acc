package modalclient

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	markVariable = "SEER_EXEC"
	maxArgv      = 64 << 10  // bytes of an argv, as modal-go allows
	maxLinewise  = 4 << 10   // bytes of a value; line by line, shells are slow at more
	maxLines     = 32        // the same
	maxArgument  = 128 << 10 // bytes of one argument and its NUL, as Linux has it
)

var (
	//go:embed scripts/launch.sh
	launchScript string
	//go:embed scripts/kill.sh
	killScript string

	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// launch is how a command goes over the wire.
type launch struct {
	args   []string
	header []byte // to send first on stdin; nil for none
}

// prepare wraps a command so that it carries its mark, reads nothing that it
// was not given, and has its environment.
func (p *Process) prepare(ctx context.Context, spec ExecSpec) (launch, error) {
	prefix := []string{"/bin/sh", "-c", launchScript, "sh", markVariable + "=" + p.marker}
	size, text := len(launchScript), true
	for _, arg := range spec.Args {
		size += len(arg)
		text = text && utf8.ValidString(arg) // or it does not go into a message
	}
	if spec.Own {
		prefix = append(prefix, "own")
	}
	inline := len(spec.Env) == 0 && text && size < maxArgv-1<<10
	switch {
	case inline && (spec.Stdin || spec.PTY):
		return launch{args: append(append(prefix, "pipe"), spec.Args...)}, nil
	case inline:
		return launch{args: append(append(prefix, "null"), spec.Args...)}, nil
	case !spec.PTY:
		return launch{args: append(prefix, "head"), header: encodeHeader(spec)}, nil
	}
	// A terminal would echo a header, and take some of its bytes for keys.
	path := "/tmp/.seer-" + p.marker
	if err := p.sandbox.WriteFile(ctx, path, bytes.NewReader(encodeHeader(spec)), 0o600); err != nil {
		return launch{}, err
	}
	return launch{args: append(prefix, "file", path)}, nil
}

// encodeHeader writes environment and command as launch.sh reads them.
func encodeHeader(spec ExecSpec) []byte {
	var b bytes.Buffer
	value := func(s string) {
		if len(s) > maxLinewise || strings.Count(s, "\n") > maxLines {
			fmt.Fprintf(&b, "-%d\n%s", len(s), s)
			return
		}
		fmt.Fprintf(&b, "%d\n%s\n", strings.Count(s, "\n")+1, s)
	}
	fmt.Fprintf(&b, "%d\n", len(spec.Args))
	for _, arg := range spec.Args {
		value(arg)
	}
	fmt.Fprintf(&b, "%d\n", len(spec.Env))
	for _, name := range slices.Sorted(maps.Keys(spec.Env)) {
		fmt.Fprintf(&b, "%s\n", name)
		value(spec.Env[name])
	}
	return b.Bytes()
}

// Launched is a command as it was given to Exec.
type Launched struct {
	Args  []string
	Env   map[string]string
	Stdin io.Reader // what follows Args and Env on the command's stdin
	Mark  string
}

// Unwrap undoes what Exec does to a command, for servers that run no
// processes: it takes the argv and stdin of the wire. An argv that Exec did
// not make comes back as it is.
func Unwrap(args []string, stdin io.Reader) (Launched, error) {
	if len(args) < 6 || args[2] != launchScript {
		return Launched{Args: args, Stdin: stdin}, nil
	}
	_, mark, _ := strings.Cut(args[4], "=")
	if args[5] == "own" {
		args = args[1:]
	}
	command := Launched{Args: args[6:], Stdin: stdin, Mark: mark}
	switch args[5] {
	case "null":
		command.Stdin = strings.NewReader("")
	case "head":
		buffered := bufio.NewReader(stdin)
		command.Stdin = buffered
		if err := decodeHeader(buffered, &command); err != nil {
			return Launched{}, err
		}
	case "file":
		return Launched{}, errors.New("a terminal's environment lies in a file: run a process")
	}
	return command, nil
}

// KillTarget returns the mark of the command that an argv, unwrapped, is to kill.
func KillTarget(args []string) (mark string, found bool) {
	if len(args) == 5 && args[2] == killScript {
		return args[4], true
	}
	return "", false
}

func decodeHeader(r *bufio.Reader, command *Launched) error {
	h := &headerReader{r: r}
	command.Env = make(map[string]string)
	for range h.number() {
		command.Args = append(command.Args, h.value())
	}
	for range h.number() {
		name := h.line()
		command.Env[name] = h.value()
	}
	if h.err != nil {
		return fmt.Errorf("read command: %w", h.err)
	}
	return nil
}

type headerReader struct {
	r   *bufio.Reader
	err error
}

func (h *headerReader) line() string {
	if h.err != nil {
		return ""
	}
	line, err := h.r.ReadString('\n')
	h.err = err
	return strings.TrimSuffix(line, "\n")
}

func (h *headerReader) number() int {
	line := h.line()
	if h.err != nil {
		return 0
	}
	n, err := strconv.Atoi(line)
	h.err = err
	return n
}

func (h *headerReader) value() string {
	lines := make([]string, 0, 1)
	n := h.number()
	if n < 0 {
		data := make([]byte, -n)
		if h.err == nil {
			_, h.err = io.ReadFull(h.r, data)
		}
		return string(data)
	}
	for range n {
		lines = append(lines, h.line())
	}
	return strings.Join(lines, "\n")
}

// kill ends a marked command and waits until nothing of it is left. What kills
// is not killed in turn, or a server that hangs would keep us at it for ever.
func (s *Sandbox) kill(ctx context.Context, mark string) error {
	result, err := s.run(ctx, ExecSpec{Args: []string{"sh", "-c", killScript, "seer", mark}, Own: true, short: true}, nil, NewBuffer(chatterLimit, nil))
	switch {
	case errors.Is(err, ErrTerminated):
		return nil
	case err != nil:
		return fmt.Errorf("kill command: %w", err)
	case result.code != 0:
		return fmt.Errorf("kill command: %s", result.complaint())
	}
	return nil
}
