package seertest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// Without a script, commands run for real.
func ExampleNewServer() {
	t := newT() // in a test of yours, its *testing.T
	defer t.end()

	server := seertest.NewServer(t)
	fmt.Println(backUp(t.Context(), server.Backend()))
	// Output: <nil>
}

// fetch is the code under test in the example below.
func fetch(ctx context.Context, backend seer.Backend, address string) (string, error) {
	sandbox, err := seer.NewSandbox(seer.SandboxConfig{}, seer.WithBackend(backend)).Start(ctx)
	if err != nil {
		return "", err
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx))
	return sandbox.ExecPython(ctx, "from urllib.request import urlopen\nprint(urlopen('"+address+"').read().decode())")
}

// A server of the test, such as a fake of the one that sandboxes use.
func ExampleAllowHost() {
	t := newT() // in a test of yours, its *testing.T
	defer t.end()

	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "faked") }))
	defer fake.Close()
	address, err := url.Parse(fake.URL)
	if err != nil {
		t.Fatal(err)
	}
	server := seertest.NewServer(t, seertest.AllowHost(address.Host))
	out, err := fetch(t.Context(), server.Backend(), "http://host.seer.internal:"+address.Port())
	fmt.Print(out, err)
	// Output:
	// faked
	// <nil>
}
