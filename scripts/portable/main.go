// Command portable checks that the module compiles on the systems that are
// named, tests included, without the minutes that it takes to compile for them:
//
//	go run ./scripts/portable darwin windows
package main

import (
	"fmt"
	"os"

	"golang.org/x/tools/go/packages"
)

func main() {
	status := 0
	for _, system := range os.Args[1:] {
		loaded, err := packages.Load(&packages.Config{
			Mode:  packages.LoadAllSyntax,
			Env:   append(os.Environ(), "GOOS="+system, "CGO_ENABLED=0"),
			Tests: true,
		}, "./...")
		if err != nil {
			fmt.Fprintf(os.Stderr, "portable: %s: %v\n", system, err)
			os.Exit(1)
		}
		if packages.PrintErrors(loaded) > 0 {
			fmt.Fprintf(os.Stderr, "portable: does not compile on %s\n", system)
			status = 1
		}
		fmt.Fprintf(os.Stdout, "%s: %d packages\n", system, len(loaded))
	}
	os.Exit(status)
}
