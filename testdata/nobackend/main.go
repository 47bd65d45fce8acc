// A program that declares a sandbox, imports no local backend and has no credentials.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	seer "github.com/ajobi-uhc/seer-go"
)

func main() {
	_, err := seer.NewSandbox(seer.SandboxConfig{}).Start(context.Background())
	fmt.Println(err)
	if !errors.Is(err, seer.ErrNoBackend) {
		os.Exit(1)
	}
}
