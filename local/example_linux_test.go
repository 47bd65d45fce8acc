package local_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/local"
)

// A sandbox reaches nothing of this machine but what is opened to it.
func ExampleNew() {
	ctx := context.Background()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }))
	defer server.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	backend := local.New(local.AllowHost(address.Host))
	defer backend.Close()
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(ctx)

	out, err := sandbox.ExecPython(ctx, "from urllib.request import urlopen\n"+
		"print(urlopen('http://host.seer.internal:"+address.Port()+"').read().decode(), end='')")
	fmt.Print(out, err)
	// Output:
	// hello
	// <nil>
}

// Two projects keep apart what they cache, on another disk than the user's.
func ExampleDir() {
	ctx := context.Background()
	disk, err := os.MkdirTemp("", "disk-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(disk)
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	backend := local.New(local.Dir(filepath.Join(disk, "project")), local.Logger(logger))
	defer backend.Close()

	models := 0
	for _, err := range seer.ListModels(ctx, seer.WithBackend(backend)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		models++
	}
	fmt.Println(models, "models cached there")
	// Output: 0 models cached there
}

// It has no output to compare: each user has another.
func ExampleStateDir() {
	dir, err := local.StateDir()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("du -sh", dir)
}

// A server that several programs share, as `seer local serve` runs it.
func ExampleServe() {
	ctx := context.Background()
	server, err := local.Serve(ctx, local.ServeOptions{TokenID: "ak-mine", TokenSecret: "as-mine"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	fmt.Println(server.Environ()[1:]) // with MODAL_SERVER_URL before them, what the programs need
	// Output: [MODAL_TOKEN_ID=ak-mine MODAL_TOKEN_SECRET=as-mine]
}
