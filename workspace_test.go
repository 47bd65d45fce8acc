package seer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	seer "github.com/ajobi-uhc/seer-go"
)

// write makes files below a new directory and returns the directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	}
	return dir
}

func TestLibraryFromFile(t *testing.T) {
	dir := write(t, map[string]string{
		"tools.py":    "#!/usr/bin/env python\n\"\"\"Counts things.\n\nCarefully.\n\"\"\"\ndef count(x): return len(x)\n",
		"my-tools.py": "",
		"class.py":    "",
		"tools.txt":   "",
	})
	library, err := seer.LibraryFromFile(filepath.Join(dir, "tools.py"))
	require.NoError(t, err)
	assert.Equal(t, "tools", library.Name)
	assert.Equal(t, "Counts things.\n\nCarefully.", library.Docs)
	assert.Contains(t, library.Files["__init__.py"], "def count")

	for _, name := range []string{"my-tools.py", "class.py", "tools.txt", "missing.py"} {
		_, err := seer.LibraryFromFile(filepath.Join(dir, name))
		assert.ErrorContains(t, err, name)
	}
}

func TestLibraryFromDir(t *testing.T) {
	dir := write(t, map[string]string{
		"shapes/__init__.py":             "from .round import circle\n",
		"shapes/round.py":                "def circle(): return 'o'\n",
		"shapes/data/names.txt":          "o",
		"shapes/README.md":               "Draws shapes.",
		"shapes/.hidden":                 "secret",
		"shapes/__pycache__/round.pyc":   "x",
		"shapes/.git/config":             "x",
		"not-a-package-name/__init__.py": "",
	})
	require.NoError(t, os.Symlink("/etc/hostname", filepath.Join(dir, "shapes", "link")))
	library, err := seer.LibraryFromDir(filepath.Join(dir, "shapes"))
	require.NoError(t, err)
	assert.Equal(t, seer.Library{
		Name: "shapes",
		Docs: "Draws shapes.",
		Files: map[string]string{
			"__init__.py":    "from .round import circle\n",
			"round.py":       "def circle(): return 'o'\n",
			"data/names.txt": "o",
			"README.md":      "Draws shapes.",
		},
	}, library)

	_, err = seer.LibraryFromDir(filepath.Join(dir, "not-a-package-name"))
	var config *seer.ConfigError
	require.ErrorAs(t, err, &config)
	assert.Equal(t, "Library.Name", config.Problems[0].Field)
}

func TestLibraryFromSkillDir(t *testing.T) {
	dir := write(t, map[string]string{
		"steering-hook/SKILL.md": "---\nname: steering-hook\ndescription: x\n---\n\n# Steering\n\nSteer.",
		"steering-hook/code.py":  "def steer(): return 'left'\n",
		"empty/code.py":          "",
	})
	library, err := seer.LibraryFromSkillDir(filepath.Join(dir, "steering-hook"))
	require.NoError(t, err)
	assert.Equal(t, seer.Library{
		Name:  "steering_hook",
		Docs:  "# Steering\n\nSteer.",
		Files: map[string]string{"__init__.py": "def steer(): return 'left'\n"},
	}, library)

	_, err = seer.LibraryFromSkillDir(filepath.Join(dir, "empty"))
	require.ErrorIs(t, err, seer.ErrNotFound)
}

func TestSkill(t *testing.T) {
	skill := seer.SkillFromSource("count-things", "Use it: to count\n\"things\".", "print('```')\n")
	assert.Equal(t, "---\nname: \"count-things\"\ndescription: \"Use it: to count\\n\\\"things\\\".\"\n---\n\n"+
		"# count-things\n\nUse it: to count\n\"things\".\n\n````python\nprint('```')\n````\n", skill.Markdown())
}

func TestLibraryDocs(t *testing.T) {
	var none *seer.Workspace
	assert.Empty(t, none.LibraryDocs())
	workspace := seer.Workspace{Libraries: []seer.Library{{Name: "one", Docs: "First.\n"}, {Name: "two"}}}
	assert.Equal(t, "## one\n\n```python\nimport one\n```\n\nFirst.\n\n## two\n\n```python\nimport two\n```\n", workspace.LibraryDocs())
}

func TestHostileWorkspacesAreRefused(t *testing.T) {
	sandbox := startSandbox(t, seer.SandboxConfig{})
	dir := write(t, map[string]string{"file": "", "bad name/SKILL.md": "", "noskill/x": ""})
	code := map[string]string{"__init__.py": ""}
	workspace := &seer.Workspace{
		LocalDirs:  []seer.Mount{{Source: filepath.Join(dir, "missing"), Target: "x"}, {Source: filepath.Join(dir, "file"), Target: "x"}},
		LocalFiles: []seer.Mount{{Source: dir, Target: "x"}},
		Libraries: []seer.Library{
			{Name: "../evil", Files: code},
			{Name: "import", Files: code},
			{Name: "a;b", Files: code},
			{Name: "paths", Files: map[string]string{"../x.py": "", "/etc/x.py": "", "a/../../x": "", "nul\x00": "", "": ""}},
			{Name: "none"},
			{Name: "twice", Files: code}, {Name: "twice", Files: code},
			{Name: "env", Files: code, Env: map[string]string{"A=B": "x", "OK": "nul\x00"}},
		},
		Skills:    []seer.Skill{{Name: "../../x", Description: "x"}, {Name: "ok"}, {Name: "a/b", Description: "x"}},
		SkillDirs: []string{filepath.Join(dir, "bad name"), filepath.Join(dir, "noskill")},
	}
	_, err := seer.NewCLISession(t.Context(), sandbox, workspace, nil)
	var config *seer.ConfigError
	require.ErrorAs(t, err, &config)
	var fields []string
	for _, p := range config.Problems {
		fields = append(fields, p.Field)
	}
	assert.Equal(t, []string{
		"LocalDirs[0].Source", "LocalDirs[1].Source", "LocalFiles[0].Source",
		"Libraries[0].Name", "Libraries[1].Name", "Libraries[2].Name",
		`Libraries[3].Files[""]`, `Libraries[3].Files["../x.py"]`, `Libraries[3].Files["/etc/x.py"]`, `Libraries[3].Files["a/../../x"]`, `Libraries[3].Files["nul\x00"]`,
		"Libraries[4].Files", "Libraries[6].Name", `Libraries[7].Env["A=B"]`, `Libraries[7].Env["OK"]`,
		"Skills[0].Name", "Skills[1].Description", "Skills[2].Name", "SkillDirs[0]", "SkillDirs[1]",
	}, fields)
	out, err := sandbox.Exec(t.Context(), "find /opt/seer /workspace -mindepth 1 2>/dev/null | wc -l")
	require.NoError(t, err)
	assert.Equal(t, "0", strings.TrimSpace(out), "nothing is copied of a workspace that is refused")
}

// A module is what it is called, also where its author did not know of packages.
func TestLibraryOfOneModule(t *testing.T) {
	t.Parallel()
	library := seer.Library{Name: "helper", Files: map[string]string{"helper.py": "def two():\n    return 2\n"}}
	session := startLocal(t, &seer.Workspace{Libraries: []seer.Library{library}}, nil)
	assert.Equal(t, "2", textOf(t, session, "import helper; helper.two()"))

	library.Files["other.py"] = ""
	_, err := seer.NewLocalSession(t.Context(), &seer.Workspace{Libraries: []seer.Library{library}}, t.TempDir(), nil)
	require.ErrorContains(t, err, `write "__init__.py"`)
	library.Files["__init__.py"] = ""
	session = startLocal(t, &seer.Workspace{Libraries: []seer.Library{library}}, nil)
	assert.Equal(t, "2", textOf(t, session, "import helper.helper; helper.helper.two()"))
}
