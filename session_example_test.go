package seer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	seer "github.com/ajobi-uhc/seer-go"
)

func ExampleNewLocalSession() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	workspace := &seer.Workspace{Libraries: []seer.Library{{
		Name:  "greetings",
		Files: map[string]string{"__init__.py": "def greet(name): return f'Hello, {name}!'\n"},
	}}}
	session, err := seer.NewLocalSession(ctx, workspace, dir, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx) //nolint:errcheck // an example

	result, err := session.Exec(ctx, "import greetings\nprint(greetings.greet('Go'))\n6 * 7")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Text())

	_, err = session.Exec(ctx, "1 / 0")
	var raised *seer.KernelError
	if errors.As(err, &raised) {
		fmt.Println(raised.Name)
	}
	// Output:
	// Hello, Go!
	// 42
	// ZeroDivisionError
}

func ExampleWorkspace_LibraryDocs() {
	workspace := &seer.Workspace{Libraries: []seer.Library{{Name: "greetings", Docs: "Call `greet(name)`."}}}
	fmt.Println(workspace.LibraryDocs())
	// Output:
	// ## greetings
	//
	// ```python
	// import greetings
	// ```
	//
	// Call `greet(name)`.
}
