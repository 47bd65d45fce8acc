// Command noisolation asks for an isolated session without package local.
package main

import (
	"context"
	"fmt"
	"os"

	seer "github.com/ajobi-uhc/seer-go"
)

func main() {
	_, err := seer.NewLocalSession(context.Background(), nil, os.Args[1], &seer.LocalOptions{Isolated: true})
	fmt.Println(err)
}
