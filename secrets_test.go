package seer

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secretsOf looks in a .env file of the test's own, and collects what is logged.
func secretsOf(t *testing.T, path string) (*secretSource, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	source, err := newSecretSource(path, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	return source, &log
}

func TestSecretLookup(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SEER_TEST_BOTH", "from the process")
	t.Setenv("SEER_TEST_EMPTY", "")
	require.NoError(t, os.WriteFile(".env", []byte("# comment\nexport SEER_TEST_FILE='from the file'\nSEER_TEST_BOTH=x\nSEER_TEST_EMPTY=x\nSEER_TEST_USES=${SEER_TEST_BOTH}, $27\n"), 0o600))
	source, log := secretsOf(t, "")
	for name, want := range map[string]string{
		"SEER_TEST_BOTH": "from the process", "SEER_TEST_FILE": "from the file", "SEER_TEST_EMPTY": "",
		"SEER_TEST_USES": "from the process, $27",
	} {
		value, ok := source.lookup(name)
		assert.True(t, ok, name)
		assert.Equal(t, want, value, name)
	}
	_, ok := source.lookup("SEER_TEST_NONE")
	assert.False(t, ok)
	assert.Empty(t, source.trouble())
	assert.Empty(t, log.String())
	_, exported := os.LookupEnv("SEER_TEST_FILE")
	assert.False(t, exported, "the file must not reach the process environment")
}

func TestAFileThatIsNamedMustBeReadable(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := newSecretSource("given.env", slog.Default())
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, "read secrets: open given.env: no such file or directory", err.Error())
}

// A .env that happens to lie in the working directory matters only to who needs
// a name from it.
func TestTheWorkingDirectorysFileMayBeAnything(t *testing.T) {
	for name, test := range map[string]struct {
		make          func(t *testing.T)
		found, reason string
	}{
		"none":      {func(*testing.T) {}, "", ""},
		"directory": {func(t *testing.T) { require.NoError(t, os.Mkdir(".env", 0o755)) }, "", ".env cannot be read: is a directory"},
		"loop":      {func(t *testing.T) { require.NoError(t, os.Symlink(".env", ".env")) }, "", ".env cannot be read: too many levels of symbolic links"},
		"BOM":       {func(t *testing.T) { writeEnv(t, "\ufeffSEER_TEST_NAME=hunter2\n") }, "hunter2", ""},
		"CRLF":      {func(t *testing.T) { writeEnv(t, "A=1\r\nSEER_TEST_NAME=hunter2\r\n") }, "hunter2", ""},
		"broken":    {func(t *testing.T) { writeEnv(t, "SEER_TEST_NAME='hunter2\n\nA B hunter2\n") }, "", "skipped, as no NAME=value: .env:1, .env:3"},
		"binary":    {func(t *testing.T) { writeEnv(t, "\x00\xff=hunter2\nSEER_TEST_NAME=\xff") }, "", "skipped, as no NAME=value: .env:1, .env:2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			test.make(t)
			require.NoError(t, SandboxConfig{}.Validate(WithBackend(Modal())))
			source, log := secretsOf(t, "")
			t.Setenv("SEER_TEST_ELSEWHERE", "1")
			_, ok := source.lookup("SEER_TEST_ELSEWHERE")
			assert.True(t, ok)
			assert.Empty(t, log.String(), "nobody needs the file")

			value, ok := source.lookup("SEER_TEST_NAME")
			assert.Equal(t, test.found, value)
			assert.Equal(t, test.found != "", ok)
			assert.Equal(t, test.reason, source.trouble())
			assert.Equal(t, max(0, strings.Count(test.reason, ".env")), strings.Count(log.String(), "level=WARN"), log.String())
			assert.NotContains(t, log.String(), "hunter2")

			err := SandboxConfig{Secrets: []string{"SEER_TEST_NAME"}}.Validate(WithBackend(Modal()), WithLogger(slog.New(slog.DiscardHandler)))
			if test.found != "" {
				require.NoError(t, err)
				return
			}
			var bad *ConfigError
			require.ErrorAs(t, err, &bad)
			require.Len(t, bad.Problems, 1)
			assert.Equal(t, "Secrets[0]", bad.Problems[0].Field)
			assert.ErrorContains(t, err, test.reason)
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func writeEnv(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(".env", []byte(text), 0o600))
}

func TestLocalSessionsTakeOnlyWhatIsAskedOfTheFile(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	require.NoError(t, os.Mkdir(".env", 0o755))
	quiet := slog.New(slog.DiscardHandler)
	_, err := localEnviron(LocalOptions{Logger: quiet}, dir)
	require.NoError(t, err)
	_, err = localEnviron(LocalOptions{Logger: quiet, Secrets: []string{"SEER_TEST_NAME"}}, dir)
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "is a directory")

	file := filepath.Join(dir, "given.env")
	require.NoError(t, os.WriteFile(file, []byte("HOME=/elsewhere\nSEER_TEST_NAME=$2b$12$x\nbroken line\n"), 0o600))
	env, err := localEnviron(LocalOptions{Logger: quiet, EnvFile: file, Secrets: []string{"SEER_TEST_NAME"}}, dir)
	require.NoError(t, err)
	assert.Contains(t, env, "SEER_TEST_NAME=$2b$12$x")
	assert.NotContains(t, strings.Join(env, "\n"), "HOME=", "what the file defines stays here")
}
