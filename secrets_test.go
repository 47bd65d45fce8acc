package seer

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSecretLookup(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SEER_TEST_BOTH", "from the process")
	t.Setenv("SEER_TEST_EMPTY", "")
	require.NoError(t, os.WriteFile(".env", []byte("# comment\nexport SEER_TEST_FILE='from the file'\nSEER_TEST_BOTH=x\nSEER_TEST_EMPTY=x\n"), 0o600))
	lookup, err := newSecretLookup("")
	require.NoError(t, err)
	for name, want := range map[string]string{
		"SEER_TEST_BOTH": "from the process", "SEER_TEST_FILE": "from the file", "SEER_TEST_EMPTY": "",
	} {
		value, ok := lookup(name)
		assert.True(t, ok, name)
		assert.Equal(t, want, value, name)
	}
	_, ok := lookup("SEER_TEST_NONE")
	assert.False(t, ok)
	_, exported := os.LookupEnv("SEER_TEST_FILE")
	assert.False(t, exported, "the file must not reach the process environment")
}

func TestSecretFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := newSecretLookup("")
	require.NoError(t, err, ".env is optional")
	_, err = newSecretLookup("given.env")
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, "read secrets: open given.env: no such file or directory", err.Error())
}

func TestSecretFileErrorsShowNoContent(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, test := range map[string]struct{ content, want string }{
		"no variable": {"A=1\n\nhun-ter2=hunter2\nB=hunter2\n", "read secrets: .env:3: not a NAME=value line, or a quote that never closes"},
		"open quote":  {"A=1\nM='two\nlines'\nKEY=\"hunter2\nB=1\n", "read secrets: .env:4: not a NAME=value line, or a quote that never closes"},
		"first line":  {"hunter2!\n", "read secrets: .env:1: not a NAME=value line, or a quote that never closes"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(".env", []byte(test.content), 0o600))
			_, err := newSecretLookup("")
			require.EqualError(t, err, test.want)
		})
	}
}

func FuzzParseEnv(f *testing.F) {
	for _, seed := range []string{"A=1\n", "export B='x y' # c\n", "C=\"a\\n$A\"\nD: yaml\n", "E=\"open", "bad-name=1", "\r\nF=${A}\r\n", "="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, wrong := parseEnv(text)
		if wrong == 0 {
			return
		}
		require.Nil(t, values)
		require.LessOrEqual(t, wrong, 1+strings.Count(text, "\n"))
	})
}
