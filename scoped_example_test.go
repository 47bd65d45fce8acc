package seer_test

import (
	"context"
	"fmt"
	"log"

	seer "github.com/ajobi-uhc/seer-go"
)

func ExampleScopedSandbox_Serve() {
	ctx := context.Background()
	scoped, err := seer.NewScopedSandbox(seer.SandboxConfig{}).Start(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer scoped.Terminate(context.WithoutCancel(ctx)) //nolint:errcheck // an example

	tools, err := scoped.Serve(ctx, "interface.py", &seer.ServeOptions{Name: "model_tools"})
	if err != nil {
		log.Fatal(err) // with Python's traceback
	}

	// For an agent that writes Python: import model_tools
	workspace := &seer.Workspace{Libraries: []seer.Library{tools.Library()}}
	session, err := seer.NewLocalSession(ctx, workspace, "work", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer session.Close(ctx) //nolint:errcheck // an example

	// For an agent that calls tools.
	fmt.Println(tools.MCPConfig()["model_tools"].URL)

	// For this program.
	embedding, err := seer.CallAs[[]float64](ctx, tools, "get_embedding", map[string]any{"text": "hi"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(embedding)
}

func ExampleStreamAs() {
	ctx := context.Background()
	scoped, err := seer.ScopedFromID(ctx, "sb-1r4ocjanPnSCvDfIsgzuaF")
	if err != nil {
		log.Fatal(err)
	}
	defer scoped.Close() //nolint:errcheck // an example
	tools, err := scoped.Service(ctx, "model_tools")
	if err != nil {
		log.Fatal(err)
	}
	for token, err := range seer.StreamAs[string](ctx, tools, "generate", map[string]any{"prompt": "Once"}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(token)
	}
}
