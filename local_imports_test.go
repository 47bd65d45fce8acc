package seer_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// TestLocalSessionRunsNothingOfItsDirectoryByItself begins where an agent has
// left modules that are called as those that the interpreter's own code needs.
func TestLocalSessionRunsNothingOfItsDirectoryByItself(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	owned := filepath.Join(t.TempDir(), "owned")
	for place, names := range map[string][]string{
		".":         {"ast", "importlib", "json", "queue", "random", "secrets", "sysconfig", "tokenize", "traceback"},
		".seer/lib": {"queue", "secrets"},
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, place), 0o755))
		for _, name := range names {
			require.NoError(t, os.WriteFile(filepath.Join(dir, place, name+".py"), []byte("open("+strconv.Quote(owned)+", 'a').write(__name__ + ' ')\n"), 0o600))
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "mine.py"), []byte("word = 'found'\n"), 0o600))
	session, err := seer.NewLocalSession(t.Context(), &seer.Workspace{Libraries: []seer.Library{{Name: "given", Files: map[string]string{"__init__.py": "word = 'given'"}}}}, dir, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, session.Close(context.Background())) })
	ran, err := os.ReadFile(owned)
	require.ErrorIs(t, err, os.ErrNotExist, "%s", ran)
	assert.Equal(t, "found given\n", execText(t, session, "import mine, given; print(mine.word, given.word)"))
}
