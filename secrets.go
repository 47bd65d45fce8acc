package seer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/joho/godotenv"
)

const defaultEnvFile = ".env"

// secretLookup finds the value of a variable by its name.
type secretLookup func(name string) (string, bool)

// newSecretLookup looks in the process environment, then in envFile; "" means
// .env of the working directory, if there is one. The file is read once and
// never exported into the process. Its errors show nothing of its content.
func newSecretLookup(envFile string) (secretLookup, error) {
	values, err := readEnvFile(envFile)
	if err != nil {
		return nil, err
	}
	return func(name string) (string, bool) {
		if value, ok := os.LookupEnv(name); ok {
			return value, true
		}
		value, ok := values[name]
		return value, ok
	}, nil
}

func readEnvFile(path string) (map[string]string, error) {
	optional := path == ""
	if optional {
		path = defaultEnvFile
	}
	data, err := os.ReadFile(path)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	values, line := parseEnv(string(data))
	if line > 0 {
		return nil, fmt.Errorf("read secrets: %s:%d: not a NAME=value line, or a quote that never closes", path, line)
	}
	return values, nil
}

// parseEnv returns the variables of a .env text, or the line that is wrong.
// godotenv's own errors quote the text, secrets included, so that they are
// only asked where they begin: after the longest run of lines that parses.
func parseEnv(text string) (values map[string]string, wrongLine int) {
	values, err := godotenv.Unmarshal(text)
	if err == nil {
		return values, 0
	}
	lines := strings.SplitAfter(text, "\n")
	for good := len(lines) - 1; good > 0; good-- {
		if _, err := godotenv.Unmarshal(strings.Join(lines[:good], "")); err == nil {
			return nil, good + 1
		}
	}
	return nil, 1
}
