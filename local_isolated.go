package seer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/isolation"
)

// isolated is where the interpreter of an isolated [LocalSession] runs: it has
// the workspace directory and a way to the services of its libraries.
type isolated struct {
	localPlace
	room     isolation.Place
	services *serviceProxy
	output   int64 // bytes kept of what each run shows
}

func openIsolated(ctx context.Context, place localPlace, logger *slog.Logger) (*isolated, error) {
	services, err := openServiceProxy(ctx, logger)
	if err != nil {
		return nil, err
	}
	room, err := isolation.Open(ctx, isolation.Spec{Dir: place.dir, Host: services.address(), Logger: logger})
	if err == nil {
		return &isolated{localPlace: place, room: room, services: services}, nil
	}
	services.close()
	if errors.Is(err, isolation.ErrNone) {
		return nil, &ConfigError{Problems: []Problem{{
			Field: "Isolated", Value: "true",
			Message: `needs the local backend, on Linux: import _ "github.com/ajobi-uhc/seer-go/local"`,
		}}}
	}
	return nil, fmt.Errorf("isolate (LocalOptions.Isolated): %w", err)
}

// environ are a workspace's variables, with the addresses of services as they
// are inside. From then on the services are reachable.
func (i *isolated) environ(variables map[string]string) (map[string]string, error) {
	return i.services.open(variables, i.room.HostAddress())
}

// publish checks inside that libraries are found.
func (i *isolated) publish(ctx context.Context, names []string) error {
	args := append([]string{i.python, "-c", publishScript, isolation.Workspace + "/" + localLibraries, "here"}, names...)
	process, err := i.room.Start(ctx, args, i.env)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = process.Signal(int(syscall.SIGKILL)) })
	defer stop()
	_ = process.Stdin().Close()
	complaints := &tail{}
	var read sync.WaitGroup
	read.Go(func() { drain(complaints, process.Stderr()) })
	read.Go(func() { drain(io.Discard, process.Stdout()) })
	code, signal := process.Wait()
	read.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return ended(i.python, code, signal, complaints)
}

// launch starts an interpreter.
func (i *isolated) launch(ctx context.Context) (*pythonProcess, error) {
	process, err := i.room.Start(ctx, []string{i.python, "-c", interpreterScript}, i.env)
	if err != nil {
		return nil, err
	}
	signal := func(s syscall.Signal) error { return process.Signal(int(s)) }
	p := &pythonProcess{
		stdin:     process.Stdin(),
		kill:      func() { _ = signal(syscall.SIGKILL) },
		interrupt: func(context.Context) error { return signal(syscall.SIGINT) },
	}
	complaints := &tail{}
	var read sync.WaitGroup
	read.Go(func() { drain(complaints, process.Stderr()) })
	wait := func() error {
		code, killer := process.Wait()
		_ = signal(syscall.SIGKILL) // what it has left
		// A process in a session of its own may hold them open.
		time.AfterFunc(outputGrace, func() { _, _ = process.Stdout().Close(), process.Stderr().Close() })
		read.Wait()
		return ended(i.python, code, killer, complaints)
	}
	return p, awaitPython(ctx, p, process.Stdout(), i.output, wait)
}

// drain reads a program's output to its end.
func drain(to io.Writer, from io.ReadCloser) {
	_, _ = io.Copy(to, from) // it ends with the program
	_ = from.Close()
}

func ended(program string, code, signal int, complaints *tail) error {
	if code == 0 && signal == 0 {
		return nil
	}
	e := &ExitError{Command: program, Code: code, Stderr: complaints.text()}
	if signal != 0 {
		e.Code, e.Signal = 128+signal, signal
	}
	return e
}

func (i *isolated) close() error {
	err := i.room.Close()
	i.services.close()
	return err
}
