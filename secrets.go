package seer

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/ajobi-uhc/seer-go/internal/dotenv"
)

const defaultEnvFile = ".env"

// secretLookup finds the value of a variable by its name.
type secretLookup func(name string) (string, bool)

// secretSource knows the process environment, then a .env file, which is never
// exported into the process. What it logs shows nothing of the file's content.
type secretSource struct {
	file func() (envFile, error) // read once, when somebody first needs it
}

// envFile is what a .env file holds.
type envFile struct {
	path   string
	values map[string]string
	broken []int // lines that are no statements
}

// newSecretSource looks in a file too; "" means .env of the working directory,
// which matters only to who asks for a name that the environment lacks.
func newSecretSource(path string, logger *slog.Logger) (*secretSource, error) {
	if path == "" {
		return &secretSource{file: sync.OnceValues(func() (envFile, error) {
			file, err := readEnvFile(defaultEnvFile, logger)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				logger.Warn("secrets are looked up without the file .env of the working directory", "error", err)
			}
			return file, err
		})}, nil
	}
	file, err := readEnvFile(path, logger)
	if err != nil {
		return nil, err
	}
	return &secretSource{file: func() (envFile, error) { return file, nil }}, nil
}

func (s *secretSource) lookup(name string) (string, bool) {
	if value, ok := os.LookupEnv(name); ok {
		return value, true
	}
	file, _ := s.file() // trouble tells
	value, ok := file.values[name]
	return value, ok
}

// defines reports whether the file gives a variable a value.
func (s *secretSource) defines(name string) bool {
	file, _ := s.file()
	_, ok := file.values[name]
	return ok
}

// trouble is what may be the reason why a name is not found; "" = nothing.
func (s *secretSource) trouble() string {
	file, err := s.file()
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%s cannot be read: %v", defaultEnvFile, reason(err))
	case len(file.broken) > 0:
		lines := make([]string, len(file.broken))
		for i, line := range file.broken {
			lines[i] = fmt.Sprintf("%s:%d", file.path, line)
		}
		return "skipped, as no NAME=value: " + strings.Join(lines, ", ")
	}
	return ""
}

func readEnvFile(path string, logger *slog.Logger) (envFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return envFile{}, fmt.Errorf("read secrets: %w", err)
	}
	file := envFile{path: path}
	file.values, file.broken = dotenv.Parse(string(data), os.LookupEnv)
	for _, line := range file.broken {
		logger.Warn("a line of an .env file is skipped: it is no NAME=value, or a quote never closes", "file", path, "line", line)
	}
	return file, nil
}
