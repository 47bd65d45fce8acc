package dotenv_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/dotenv"
)

// The golden is the real python-dotenv's; testdata/golden.py makes it.
func TestValuesArePythonDotenvs(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var golden struct {
		Environ map[string]string
		Cases   []struct {
			Text   string
			Values map[string]string
		}
	}
	require.NoError(t, json.Unmarshal(data, &golden))
	require.Greater(t, len(golden.Cases), 1000)
	environ := func(name string) (string, bool) {
		value, ok := golden.Environ[name]
		return value, ok
	}
	for _, c := range golden.Cases {
		values, _ := dotenv.Parse(c.Text, environ)
		if !assert.Equal(t, c.Values, values, "%q", c.Text) {
			return
		}
	}
}

func none(string) (string, bool) { return "", false }

func TestBrokenStatementsAreCounted(t *testing.T) {
	for text, want := range map[string][]int{
		"A=1\n\nhun-ter2 hunter2\nB=2\n":             {3},
		"A=1\nM='two\nlines'\nKEY=\"open\nB=1\n":     {4},
		"hunter2!\n":                                 nil, // a name alone
		"=x\n\n\n = y\nB=2":                          {1, 4},
		"A=\xff\nB=2\n":                              {1},
		"A=\x00\nB=2\n":                              {1},
		"A=1\r\n'B\r\nC=3\r\n":                       {2},
		"A='\xff'\n\xff=1\nB=\"\xff\"\nC=\"\\\xff\"": {1, 2, 3, 4},
	} {
		_, broken := dotenv.Parse(text, none)
		assert.Equal(t, want, broken, "%q", text)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"A=1\n", "export B='x y' # c\n", "C=\"a\\n$A\"\nD: yaml\n", "E=\"open", "bad-name=1", "\r\nF=${A}\r\n", "=", "\xff", "''=1", "A=\"\\"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, broken := dotenv.Parse(text, none)
		for i, line := range broken {
			require.LessOrEqual(t, line, 1+strings.Count(text, "\n")+strings.Count(text, "\r"))
			require.True(t, i == 0 || line >= broken[i-1])
		}
		for name := range values {
			require.NotEmpty(t, name)
		}
	})
}
