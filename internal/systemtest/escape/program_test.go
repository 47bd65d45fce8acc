//go:build linux

package escape_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/local"
)

// programVariable makes this test binary a program that owns sandboxes and
// makes the attempts whose names it reads, a line each.
const programVariable = "SEER_ESCAPE_PROGRAM"

// programs runs such a program, and another one when it was ended.
type programs struct {
	t   *testing.T
	dir string

	cmd    *exec.Cmd
	stdin  *os.File
	output *bufio.Reader
	stderr *bytes.Buffer
}

// run makes an attempt on the program and returns what got out.
func (p *programs) run(name string) string {
	if p.cmd == nil {
		if err := p.start(); err != nil {
			p.t.Error(err)
			return ""
		}
	}
	answer := make(chan string, 1)
	go func(output *bufio.Reader) {
		line, _ := output.ReadString('\n')
		answer <- line
	}(p.output)
	if _, err := fmt.Fprintln(p.stdin, name); err != nil {
		return p.ended("before it began")
	}
	select {
	case line := <-answer:
		var got string
		if json.Unmarshal([]byte(line), &got) != nil {
			return p.ended("meanwhile")
		}
		return got
	case <-time.After(attemptLimit):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		<-answer
		return "the owner's program hangs: " + p.ended("for that")
	}
}

// ended collects a program that has ended against its will.
func (p *programs) ended(when string) string {
	_ = p.cmd.Process.Kill()
	err := p.cmd.Wait()
	_ = p.stdin.Close()
	p.cmd = nil
	said := p.stderr.String()
	if at := strings.Index(said, "panic: "); at >= 0 {
		said = said[at:]
	}
	return outf("the owner's program ended %s: %v: %s", when, err, said[:min(len(said), 1500)])
}

func (p *programs) start() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = read.Close() }()
	p.stderr = &bytes.Buffer{}
	p.stdin = write
	p.cmd = exec.CommandContext(context.WithoutCancel(p.t.Context()), os.Args[0])
	p.cmd.Env = append(os.Environ(), programVariable+"="+p.dir)
	p.cmd.Stdin, p.cmd.Stderr = read, p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.output = bufio.NewReader(stdout)
	return p.cmd.Start()
}

func (p *programs) close() {
	if p.cmd == nil {
		return
	}
	_ = p.stdin.Close()
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			p.t.Errorf("the owner's program: %v\n%s", err, p.stderr)
		}
	case <-time.After(attemptLimit):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT)
		p.t.Errorf("the owner's program did not end (%v): %s", <-ended, p.stderr)
	}
}

// program is the owner's program, from the inside.
type program struct {
	backend seer.Backend
	dir     string
	secret  *atomic.Int32 // how often its own service on loopback was called
	service *httptest.Server
	sandbox *seer.Sandbox // one for the attempts that leave it as it was; nil = none yet
}

// ownSandboxes is that program.
func ownSandboxes() {
	p := &program{dir: os.Getenv(programVariable), secret: &atomic.Int32{}}
	p.service = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.secret.Add(1)
		_, _ = fmt.Fprint(w, `"secret"`)
	}))
	p.backend = local.New(local.Logger(slog.New(slog.DiscardHandler)))
	known := map[string]attempt{}
	for _, f := range families() {
		for _, a := range f.attempts {
			known[a.name] = a
		}
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		ctx, cancel := context.WithTimeout(context.Background(), attemptLimit-10*time.Second)
		answer, err := json.Marshal(known[lines.Text()].program(ctx, p))
		cancel()
		if err != nil {
			panic(err)
		}
		fmt.Println(string(answer))
	}
	if p.sandbox != nil {
		if err := p.sandbox.Terminate(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	p.service.Close()
	if err := p.backend.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// start starts a sandbox of the program's.
func (p *program) start(ctx context.Context, config seer.SandboxConfig, opts ...seer.Option) *seer.Sandbox {
	opts = append([]seer.Option{seer.WithBackend(p.backend), seer.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	sandbox, err := seer.NewSandbox(config, opts...).Start(ctx)
	if err != nil {
		panic(err)
	}
	return sandbox
}

// shared is a sandbox for attempts that leave it as it was.
func (p *program) shared(ctx context.Context) *seer.Sandbox {
	if p.sandbox == nil {
		p.sandbox = p.start(ctx, seer.SandboxConfig{})
	}
	return p.sandbox
}

// own lends a sandbox for one attempt and says whether it could be ended.
func (p *program) own(ctx context.Context, config seer.SandboxConfig, use func(*seer.Sandbox) string) string {
	sandbox := p.start(ctx, config)
	got := use(sandbox)
	began := time.Now()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
	defer cancel()
	if err := sandbox.Terminate(ending); err != nil && got == "" {
		return outf("the sandbox cannot be ended: %v", err)
	}
	if took := time.Since(began); took > endLimit && got == "" {
		return outf("the end of the sandbox took %v", took)
	}
	return got
}

// endLimit is long for what must be done at once, also on a busy machine.
const endLimit = 20 * time.Second

// alive says whether the program's sandboxes still answer.
func (p *program) alive(ctx context.Context) string {
	if text, err := p.shared(ctx).Exec(ctx, "echo alive"); err != nil || text != "alive\n" {
		return outf("a sandbox that was let alone does not answer: %q, %v", text, err)
	}
	return ""
}

// grown says by how many bytes of memory the program was larger than before
// while something was done, if that is more than a bound.
func (p *program) grown(most int64, do func() string) string {
	debug.FreeOSMemory()
	before := memory("VmRSS:")
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	if got := do(); got != "" {
		return got
	}
	if more := memory("VmHWM:") - before; more > most {
		return outf("the owner's program grew by %d MB", more>>20)
	}
	return ""
}

// memory is a line of this process's status, in bytes.
func memory(line string) int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), line)
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, _ := strconv.ParseInt(fields[0], 10, 64)
	return kilobytes << 10
}

// hidden is how many bytes this process keeps in files without a name.
func hidden() int64 {
	var sum int64
	open, _ := filepath.Glob("/proc/self/fd/*")
	for _, path := range open {
		if target, err := os.Readlink(path); err != nil || !strings.HasSuffix(target, " (deleted)") {
			continue
		}
		if info, err := os.Stat(path); err == nil {
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += s.Blocks * 512
			}
		}
	}
	return sum
}
