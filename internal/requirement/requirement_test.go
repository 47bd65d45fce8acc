package requirement_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/requirement"
)

// The golden is the real packaging library's; testdata/golden.py makes it.
func TestTakesWhatPackagingTakes(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var golden struct{ Accepted, Refused []string }
	require.NoError(t, json.Unmarshal(data, &golden))
	require.Greater(t, len(golden.Accepted), 500)
	require.Greater(t, len(golden.Refused), 500)
	var wronglyRefused, wronglyAccepted []string
	for _, text := range golden.Accepted {
		if _, ok := requirement.Parse(text); !ok {
			wronglyRefused = append(wronglyRefused, text)
		}
	}
	for _, text := range golden.Refused {
		if _, ok := requirement.Parse(text); ok {
			wronglyAccepted = append(wronglyAccepted, text)
		}
	}
	assert.Empty(t, wronglyRefused)
	assert.Empty(t, wronglyAccepted)
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"x": "", "x[a] @ https://u:p@h/x.whl ; extra == 'a'": "https://u:p@h/x.whl", "x@file:///y": "file:///y",
	} {
		url, ok := requirement.Parse(text)
		assert.True(t, ok, text)
		assert.Equal(t, want, url)
	}
	for _, text := range []string{"x\xff", "x @ \xff", "x===\x00", "x; extra == '\xff'"} {
		_, ok := requirement.Parse(text)
		assert.False(t, ok, "%q", text)
	}
}
