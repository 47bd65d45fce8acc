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

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/runtime/scripted"
)

// serverVariable makes this program a server of its own, which a client that
// weighs itself needs.
const serverVariable = "SEER_BENCHMARKS_SERVER"

// scriptedWorld runs no process: every command but cat prints a line and ends at once.
func scriptedWorld() (*world, error) {
	return newWorld(scripted.New(func(_ context.Context, e scripted.Exec) scripted.Result {
		command, err := modalclient.Unwrap(e.Args, e.Stdin)
		if err != nil {
			return scripted.Result{Code: 125}
		}
		if len(e.Args) != len(command.Args) { // seer's own have an input that ends
			_, _ = io.Copy(io.Discard, command.Stdin)
		}
		if command.Args[0] == "cat" { // there are no files
			_, _ = io.WriteString(e.Stderr, "cat: No such file or directory\n")
			return scripted.Result{Code: 1}
		}
		_, _ = io.WriteString(e.Stdout, "hi\n")
		return scripted.Result{}
	}))
}

// serveScripted serves until its input ends.
func serveScripted(stdin io.Reader, stdout io.Writer) error {
	w, err := scriptedWorld()
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, w.server.URL())
	_, err = io.Copy(io.Discard, stdin)
	return errors.Join(err, w.close())
}

const many = 200

// manySandboxes is S7: what a sandbox costs the program that holds it.
func manySandboxes(ctx context.Context, b *bench) (err error) {
	server := exec.CommandContext(ctx, "/proc/self/exe")
	server.Env = append(os.Environ(), serverVariable+"=1")
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stdin.Close(), server.Wait()) }()
	url, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return err
	}
	w := &world{backend: backendAt(strings.TrimSpace(url))}

	var sandboxes []*seer.Sandbox
	defer func() {
		for _, s := range sandboxes {
			err = errors.Join(err, s.Terminate(context.WithoutCancel(ctx)))
		}
	}()
	var times []time.Duration
	var memory uint64
	var goroutines int
	for i := range many + 1 {
		start := time.Now()
		s, err := w.start(ctx, seer.SandboxConfig{})
		if err != nil {
			return err
		}
		times = append(times, time.Since(start))
		sandboxes = append(sandboxes, s)
		if _, err := s.Exec(ctx, "echo hi"); err != nil {
			return err
		}
		if i == 0 { // it brings the connection that all of them share
			memory, goroutines = footprint()
		}
	}
	after, running := footprint()
	kilobytes := (int64(after) - int64(memory)) / 1024 / many
	b.row("client memory per sandbox, of 200", fmt.Sprintf("%d KiB", kilobytes), "", "", "", "300 KiB")
	b.row("goroutines per sandbox, of 200", fmt.Sprintf("%.1f", float64(running-goroutines)/many), "", "", "", "6")
	first, last := median(times[1:51]), median(times[many-49:])
	b.row("Start of the last 50 of 200", show(last), "the first 50", show(first), ratio(last, first), "1")
	return nil
}

// footprint is what lives on the heap and how many goroutines there are.
func footprint() (memory uint64, goroutines int) {
	goruntime.GC()
	goruntime.GC() // what finalizers held
	var stats goruntime.MemStats
	goruntime.ReadMemStats(&stats)
	return stats.HeapInuse + stats.StackInuse, goruntime.NumGoroutine()
}
