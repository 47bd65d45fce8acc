package modelcache_test

import (
	pathpkg "path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/modelcache"
)

var (
	volumeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,61}[A-Za-z0-9]$`)
	mountPath  = regexp.MustCompile(`^/models/[A-Za-z0-9._-]+$`)
	commitA    = strings.Repeat("a", 40)
	commitB    = strings.Repeat("b", 40)
)

func newNamer(t *testing.T, secret string) modelcache.Namer {
	t.Helper()
	namer, err := modelcache.NewNamer([]byte(secret))
	require.NoError(t, err)
	return namer
}

func TestNames(t *testing.T) {
	namer := newNamer(t, "secret")
	gemma := modelcache.Model{ID: "google/gemma-2-9b"}
	assert.Regexp(t, `^seer-model-google--gemma-2-9b-[0-9a-f]{10}-aaaaaaaaaa$`, namer.Volume(gemma, commitA))
	assert.Equal(t, "/models/google--gemma-2-9b", namer.MountPath(gemma))
	assert.Equal(t, "/models/gpt2", namer.MountPath(modelcache.Model{ID: "gpt2"}))

	long := strings.Repeat("long-organisation/", 1) + strings.Repeat("very-long-name-", 10)
	models := []modelcache.Model{
		gemma,
		{ID: "google/gemma-2-9B"},
		{ID: "google--gemma-2-9b"},
		{ID: "google-gemma-2/9b"},
		{ID: "google/gemma-2-9b", Revision: "v1"},
		{ID: "google/gemma-2-9b", Include: []string{"a", "b"}},
		{ID: "google/gemma-2-9b", Include: []string{"a,b"}},
		{ID: "google/gemma-2-9b", Exclude: []string{"a", "b"}},
		{ID: long + "1"}, {ID: long + "2"},
		{ID: "../../etc"}, {ID: ".."}, {ID: "a b/ü\n"}, {ID: "a-b/-"}, {ID: "-"},
		{ID: "google/gemma-2-9b", Hidden: true},
		{ID: "google/gemma-2-9b", Hidden: true, Conceal: []string{"google/gemma"}},
		{ID: "google/gemma-2-9b", Hidden: true, Revision: "v1"},
	}
	volumes, paths := map[string]modelcache.Model{}, map[string]modelcache.Model{}
	for _, m := range models {
		for _, commit := range []string{commitA, commitB} {
			volume := namer.Volume(m, commit)
			assert.Regexp(t, volumeName, volume)
			if m.Revision == "" {
				assert.NotContains(t, volumes, volume, "%+v", m)
			}
			volumes[volume] = m
		}
		path := namer.MountPath(m)
		assert.Regexp(t, mountPath, path)
		assert.Equal(t, path, pathpkg.Clean(path))
		assert.NotContains(t, paths, path, "%+v", m)
		paths[path] = m
	}
}

func TestNamesOfHiddenModels(t *testing.T) {
	hidden := modelcache.Model{ID: "google/gemma-2-9b", Hidden: true}
	one, other := newNamer(t, "one"), newNamer(t, "other")
	assert.Equal(t, one.Volume(hidden, commitA), newNamer(t, "one").Volume(hidden, commitA))
	assert.NotEqual(t, one.Volume(hidden, commitA), other.Volume(hidden, commitA))
	assert.NotEqual(t, one.MountPath(hidden), other.MountPath(hidden))
	assert.NotEqual(t, newNamer(t, "").Volume(hidden, commitA), newNamer(t, "").Volume(hidden, commitA))
	for _, name := range []string{one.Volume(hidden, commitA), one.MountPath(hidden), hidden.Label()} {
		assert.NotRegexp(t, `(?i)gemma|google|aaaaa`, name)
	}
}

func TestParseManifest(t *testing.T) {
	good := `{"format": 1, "volume": "v", "created": "2026-01-02T03:04:05Z", "files": [{"path": "a/b", "size": 7, "sha256": "` + strings.Repeat("0", 64) + `"}]}`
	m, err := modelcache.ParseManifest([]byte(good))
	require.NoError(t, err)
	assert.EqualValues(t, 7, m.Bytes())
	assert.Equal(t, 2026, m.Created.Year())
	for name, change := range map[string][2]string{
		"not JSON":   {"{", "["},
		"format":     {`"format": 1`, `"format": 2`},
		"no volume":  {`"volume": "v"`, `"volume": ""`},
		"no files":   {`"files": [{`, `"files": [], "x": [{`},
		"path":       {"a/b", "../b"},
		"absolute":   {"a/b", "/b"},
		"size":       {"7", "-7"},
		"no hash":    {strings.Repeat("0", 64), ""},
		"bad time":   {"2026-01-02", "yesterday"},
		"half of it": {`"sha256"`, "\x00"},
	} {
		_, err := modelcache.ParseManifest([]byte(strings.Replace(good, change[0], change[1], 1)))
		require.Error(t, err, name)
	}
}
