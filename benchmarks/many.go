//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	seer "github.com/ajobi-uhc/seer-go"
)

// serverVariable makes this program a server of its own, which a client that
// weighs itself needs. It says of which world.
const serverVariable = "SEER_BENCHMARKS_SERVER"

const (
	onThisMachine    = "local backend"
	withoutProcesses = "no processes"
)

// serveWorld serves until its input ends, and tells its own weight for each
// line of it.
func serveWorld(kind string, stdin io.Reader, stdout io.Writer) error {
	open := realWorld
	if kind == withoutProcesses {
		open = scriptedWorld
	}
	w, err := open()
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, w.server.URL())
	lines := bufio.NewScanner(stdin)
	for lines.Scan() {
		own, err := weigh()
		if err != nil {
			return errors.Join(err, w.close())
		}
		fmt.Fprintln(stdout, own.memory, own.goroutines, own.files)
	}
	return errors.Join(lines.Err(), w.close())
}

// weight is what a program holds.
type weight struct {
	memory     int // bytes of heap and stacks
	goroutines int
	files      int // open descriptors
}

func weigh() (weight, error) {
	goruntime.GC()
	goruntime.GC() // what finalizers held
	var stats goruntime.MemStats
	goruntime.ReadMemStats(&stats)
	files, err := os.ReadDir("/proc/self/fd")
	return weight{memory: int(stats.HeapInuse + stats.StackInuse), goroutines: goruntime.NumGoroutine(), files: len(files)}, err
}

// otherProgram is a world in another process.
type otherProgram struct {
	*world
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	answer *bufio.Reader
}

func startWorld(ctx context.Context, kind string) (*otherProgram, error) {
	p := &otherProgram{cmd: exec.CommandContext(ctx, "/proc/self/exe")}
	p.cmd.Env = append(os.Environ(), serverVariable+"="+kind)
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.answer = bufio.NewReader(stdout)
	url, err := p.answer.ReadString('\n')
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.world = &world{backend: backendAt(strings.TrimSpace(url))}
	return p, nil
}

func (p *otherProgram) close() error { return errors.Join(p.stdin.Close(), p.cmd.Wait()) }

func (p *otherProgram) weigh() (w weight, err error) {
	if _, err := fmt.Fprintln(p.stdin); err != nil {
		return w, err
	}
	_, err = fmt.Fscanln(p.answer, &w.memory, &w.goroutines, &w.files)
	return w, err
}

// A fleet is started in parts, so that the first can be compared with the last.
const (
	parts  = 4
	inPart = 50
	many   = parts * inPart
)

// manySandboxes is S7: what a sandbox costs the program that holds it, and its
// server, when there are many.
func manySandboxes(ctx context.Context, b *bench) error {
	return errors.Join(holdMany(ctx, b, onThisMachine), holdMany(ctx, b, withoutProcesses))
}

func holdMany(ctx context.Context, b *bench, kind string) (err error) {
	server, err := startWorld(ctx, kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.close()) }()
	var fleet seer.Fleet
	defer func() { err = errors.Join(err, fleet.Terminate(context.WithoutCancel(ctx))) }()
	start := func(n int) (time.Duration, error) {
		begin := time.Now()
		started, err := seer.StartAll(ctx, make([]seer.SandboxConfig, n), 0, server.options()...)
		took := time.Since(begin)
		fleet = append(fleet, started...)
		return took, errors.Join(err, execAll(ctx, started))
	}

	if _, err := start(1); err != nil { // it brings the connection that all of them share
		return err
	}
	client, own, err := weights(server)
	if err != nil {
		return err
	}
	var times [parts]time.Duration
	for i := range times {
		if times[i], err = start(inPart); err != nil {
			return err
		}
	}
	begin := time.Now()
	if err := execAll(ctx, fleet); err != nil {
		return err
	}
	all := time.Since(begin)
	clientAfter, ownAfter, err := weights(server)
	if err != nil {
		return err
	}

	what := func(text string) string { return fmt.Sprintf("%s, of %d (%s)", text, many, kind) }
	b.row(what("client memory per sandbox"), perSandbox(client.memory, clientAfter.memory, 1024)+" KiB", "", "", "", "300 KiB")
	b.row(what("goroutines per sandbox"), perSandbox(client.goroutines, clientAfter.goroutines, 1), "", "", "", "6")
	b.row(what("descriptors per sandbox"), perSandbox(client.files, clientAfter.files, 1), "", "", "", "")
	b.row(what("the backend's memory per sandbox"), perSandbox(own.memory, ownAfter.memory, 1024)+" KiB", "", "", "", "")
	b.row(what("the backend's goroutines per sandbox"), perSandbox(own.goroutines, ownAfter.goroutines, 1), "", "", "", "")
	b.row(what("the backend's descriptors per sandbox"), perSandbox(own.files, ownAfter.files, 1), "", "", "", "")
	flat := "" // what the backend adds is its own
	if kind == withoutProcesses {
		flat = "1"
	}
	b.row(what(fmt.Sprintf("StartAll of the last %d", inPart)), show(times[parts-1]), fmt.Sprintf("the first %d", inPart), show(times[0]),
		ratio(times[parts-1], times[0]), flat)
	b.row(what("Exec in all at once"), show(all), "", "", "", "")
	return nil
}

func weights(server *otherProgram) (client, own weight, err error) {
	if client, err = weigh(); err != nil {
		return client, own, err
	}
	own, err = server.weigh()
	return client, own, err
}

func perSandbox(before, after, unit int) string {
	return fmt.Sprintf("%.1f", float64(after-before)/float64(unit)/many)
}

// execAll runs a command in every sandbox of a fleet at once.
func execAll(ctx context.Context, fleet seer.Fleet) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, sandbox := range fleet.Sandboxes() {
		group.Go(func() error {
			_, err := sandbox.Exec(ctx, "echo hi")
			return err
		})
	}
	return group.Wait()
}
