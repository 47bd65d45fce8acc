package seer_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
	_ "github.com/ajobi-uhc/seer-go/local" // runs these examples on this machine
)

// started is a CPU sandbox for the examples below.
func started(ctx context.Context) *seer.Sandbox {
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}).Start(ctx)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return sandbox
}

func Example() {
	ctx := context.Background()
	config := seer.SandboxConfig{
		Env: map[string]string{"GREETING": "hello"},
	}
	sandbox, err := seer.NewSandbox(config).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx))

	out, err := sandbox.Exec(ctx, `echo "$GREETING from $(python --version | cut -d. -f1)"`)
	fmt.Print(out, err)
	// Output:
	// hello from Python 3
	// <nil>
}

func ExampleNewSandbox() {
	ctx := context.Background()
	config := seer.SandboxConfig{
		LocalDirs: []seer.Mount{{Source: "testdata/config", Target: "/workspace/config"}},
		Env:       map[string]string{"MODE": "dry-run"},
		Timeout:   10 * time.Minute,
	}
	sandbox, err := seer.NewSandbox(config).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx))

	out, err := sandbox.Exec(ctx, `echo "$MODE of" $(ls /workspace/config)`)
	fmt.Print(out, err)
	// Output:
	// dry-run of full.json full.yaml
	// <nil>
}

func ExampleSandbox_Start() {
	ctx := context.Background()
	config := seer.SandboxConfig{SetupCommands: []string{"echo 'no such tool' >&2; exit 1"}}
	sandbox := seer.NewSandbox(config)
	defer sandbox.Terminate(context.WithoutCancel(ctx)) // it may be called when Start has failed

	_, err := sandbox.Start(ctx)
	var failed *seer.StartError
	var build *seer.BuildError
	if errors.As(err, &failed) && errors.As(err, &build) {
		fmt.Printf("%s: %s: %s\n", failed.Step, build.Layer, build.Log)
	}
	// Output: build image: setup command 1: no such tool
}

// Nothing is left running when the user stops the program.
func ExampleSandbox_Terminate() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx)) // for early returns, and Ctrl-C

	_, err = sandbox.Exec(ctx, "true")
	fmt.Println(errors.Join(err, sandbox.Terminate(ctx)))
	_, err = sandbox.Exec(ctx, "true")
	fmt.Println(errors.Is(err, seer.ErrTerminated))
	// Output:
	// <nil>
	// true
}

func ExampleSandbox_Wait() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	// Another program finds it, as `seer rm` does.
	if err := seer.TerminateAll(ctx, []string{sandbox.SandboxID()}); err != nil {
		fmt.Println(err)
		return
	}

	err := sandbox.Wait(ctx)
	var timeout *seer.TimeoutError
	switch {
	case errors.As(err, &timeout):
		fmt.Println("its time is over")
	case errors.Is(err, seer.ErrSandboxLost):
		fmt.Println("it died")
	case errors.Is(err, seer.ErrTerminated):
		fmt.Println("somebody ended it")
	}
	// Output: somebody ended it
}

// Follows a sandbox to its end.
func ExampleSandbox_Logs() {
	ctx := context.Background()
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{Timeout: time.Second}).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)

	for text, err := range sandbox.Logs(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Fprint(os.Stderr, text)
	}
	fmt.Println("it has ended:", errors.Is(sandbox.Wait(ctx), context.DeadlineExceeded))
	// Output: it has ended: true
}

func ExampleSandbox_URL() {
	ctx := context.Background()
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{EncryptedPorts: []int{8000}}).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)
	if err := sandbox.WriteFile(ctx, "/srv/report.txt", []byte("all is well")); err != nil {
		fmt.Println(err)
		return
	}
	server := sandbox.Command("python", "-u", "-m", "http.server", "8000", "--directory", "/srv")
	said, stdout := io.Pipe()
	server.Stdout = stdout
	if err := server.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println(server.Kill()); _ = server.Wait() }()
	if _, err := bufio.NewReader(said).ReadString('\n'); err != nil { // it listens
		fmt.Println(err)
		return
	}

	address, err := sandbox.URL(ctx, 8000) // whoever knows it gets the report
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := http.Get(address + "/report.txt")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	report, err := io.ReadAll(response.Body)
	fmt.Println(string(report), err)
	// Output:
	// all is well <nil>
	// <nil>
}

func ExampleSandbox_Exec() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	_, err := sandbox.Exec(ctx, "echo no such thing >&2; exit 3")
	var exit *seer.ExitError
	if errors.As(err, &exit) {
		fmt.Println(exit.Code, strings.TrimSpace(exit.Stderr))
	}
	// Output: 3 no such thing
}

func ExampleSandbox_ExecPython() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	out, err := sandbox.ExecPython(ctx, "print(6 * 7)")
	fmt.Print(out, err)
	// Output:
	// 42
	// <nil>
}

func ExampleSandbox_Command() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	cmd := sandbox.Command("sort", "-r")
	cmd.Stdin = strings.NewReader("a\nc\nb\n")
	cmd.Stdout = os.Stdout
	fmt.Println(cmd.Run(ctx))
	// Output:
	// c
	// b
	// a
	// <nil>
}

// Follows a program that would run for ever.
func ExampleCmd_Start() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	cmd := sandbox.Command("bash", "-c", "for i in 1 2 3; do echo step $i; done; sleep infinity")
	said, stdout := io.Pipe()
	cmd.Stdout = stdout
	if err := cmd.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	for lines := bufio.NewScanner(said); lines.Scan() && lines.Text() != "step 3"; {
		fmt.Println(lines.Text())
	}
	if err := cmd.Kill(); err != nil {
		fmt.Println(err)
	}
	var exit *seer.ExitError
	if errors.As(cmd.Wait(), &exit) && exit.Signal != 0 {
		fmt.Println("killed")
	}
	// Output:
	// step 1
	// step 2
	// killed
}

func ExampleSandbox_WriteFile() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	if err := sandbox.WriteFile(ctx, "/workspace/config.json", []byte(`{"key": "value"}`)); err != nil {
		fmt.Println(err)
	}
	data, err := sandbox.ReadFile(ctx, "/workspace/config.json")
	fmt.Println(string(data), err)
	_, err = sandbox.ReadFile(ctx, "/workspace/missing")
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// {"key": "value"} <nil>
	// true
}

func ExampleSandbox_Upload() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	if err := sandbox.Upload(ctx, "testdata/config", "/workspace/data"); err != nil {
		fmt.Println(err)
	}
	out, err := sandbox.Exec(ctx, "cd /workspace/data && ls full.* | tee list.txt")
	fmt.Print(out, err, "\n")

	back, err := os.MkdirTemp("", "data-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(back)
	if err := sandbox.Download(ctx, "/workspace/data", back); err != nil {
		fmt.Println(err)
	}
	list, err := os.ReadFile(back + "/list.txt")
	fmt.Print(string(list), err)
	// Output:
	// full.json
	// full.yaml
	// <nil>
	// full.json
	// full.yaml
	// <nil>
}

func ExampleSandbox_Download() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)
	if _, err := sandbox.Exec(ctx, "mkdir -p /workspace/results && echo 0.93 >/workspace/results/accuracy"); err != nil {
		fmt.Println(err)
		return
	}

	dir, err := os.MkdirTemp("", "results-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := sandbox.Download(ctx, "/workspace/results", dir); err != nil {
		fmt.Println(err)
		return
	}
	accuracy, err := os.ReadFile(filepath.Join(dir, "accuracy"))
	fmt.Print(string(accuracy), err)
	// Output:
	// 0.93
	// <nil>
}

func ExampleSandbox_FS() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)

	if _, err := sandbox.Exec(ctx, "mkdir -p /data && touch /data/a.csv /data/b.csv /data/c.txt"); err != nil {
		fmt.Println(err)
	}
	matches, err := fs.Glob(sandbox.FS(ctx), "data/*.csv")
	fmt.Println(matches, err)
	// Output: [data/a.csv data/b.csv] <nil>
}

func ExampleSandbox_Snapshot() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(ctx)
	if err := sandbox.WriteFile(ctx, "/workspace/note", []byte("kept")); err != nil {
		fmt.Println(err)
	}
	snapshot, err := sandbox.Snapshot(ctx, "after setup")
	if err != nil {
		fmt.Println(err)
		return
	}
	saved, err := json.Marshal(snapshot) // to a file, or by mail
	if err != nil {
		fmt.Println(err)
	}

	// Later, perhaps in another program.
	var loaded seer.Snapshot
	if err := json.Unmarshal(saved, &loaded); err != nil {
		fmt.Println(err)
	}
	restored, err := seer.FromSnapshot(ctx, &loaded, seer.SandboxConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer restored.Terminate(ctx)
	data, err := restored.ReadFile(ctx, "/workspace/note")
	fmt.Println(string(data), err)
	// Output: kept <nil>
}

func ExampleFromID() {
	ctx := context.Background()
	sandbox := started(ctx)
	if err := sandbox.Close(); err != nil { // it runs on
		fmt.Println(err)
	}

	again, err := seer.FromID(ctx, sandbox.SandboxID())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer again.Terminate(ctx)
	fmt.Println(again.SandboxID() == sandbox.SandboxID())
	// Output: true
}

// Locks out whoever was given the addresses of a sandbox by another program.
func ExampleWithNewTokens() {
	ctx := context.Background()
	sandbox := started(ctx)
	if err := sandbox.Close(); err != nil {
		fmt.Println(err)
	}

	again, err := seer.FromID(ctx, sandbox.SandboxID(), seer.WithNewTokens())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer again.Terminate(ctx)
	fmt.Println(again.JupyterURL() == "") // none yet: the next notebook session starts a server
	// Output: true
}

// A GPU in demand may take its time: events tell that Start waits for it.
func ExampleWithQueueTimeout() {
	ctx := context.Background()
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithQueueTimeout(time.Hour)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)
	fmt.Println("running")
	// Output: running
}

func ExampleWithOutputLimit() {
	ctx := context.Background()
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithOutputLimit(1<<20)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)

	_, err = sandbox.Exec(ctx, "yes") // which never ends
	fmt.Println(errors.Is(err, seer.ErrOutputLimit))
	// Output: true
}

func ExampleWithProgress() {
	ctx := context.Background()
	config := seer.SandboxConfig{Env: map[string]string{"A": "b"}}
	sandbox, err := seer.NewSandbox(config, seer.WithProgress(func(e seer.Event) {
		if e.Kind == seer.EventDone && e.Step == "create sandbox" {
			fmt.Println("running")
		}
	})).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)
	// Output: running
}
