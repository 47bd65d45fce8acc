//go:build !linux

package seertest

import (
	"errors"
	"log/slog"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

const tunnelHost = ""

func hostRuntime([]string, *slog.Logger) (host runtime.Runtime, imageDir string, err error) {
	return nil, "", errors.New("commands run for real on Linux only: script them with HandleExec")
}

func hostMachine() seer.Endpoint { return seer.Endpoint{} }
