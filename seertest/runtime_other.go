//go:build !linux

package seertest

import (
	"errors"
	"log/slog"

	"github.com/ajobi-uhc/seer-go/internal/runtime"
)

func hostRuntime([]string, *slog.Logger) (host runtime.Runtime, imageDir string, pythons []string, err error) {
	return nil, "", nil, errors.New("commands run for real on Linux only: script them with HandleExec")
}
