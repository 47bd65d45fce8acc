package seer

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/ajobi-uhc/seer-go/internal/plainfile"
)

// Library is a Python package that an agent imports. [Service.Library] gives
// one that calls a scoped sandbox; the LibraryFrom functions read one from
// this machine.
type Library struct {
	Name string // what is imported: a Python identifier
	// Files are contents by slash-separated path inside the package, such as
	// "__init__.py". A single file that is named as the library is its
	// "__init__.py".
	Files map[string]string
	Docs  string // Markdown for the agent; "" = none
	// Env are variables that the library reads, such as the token of its
	// service. They reach the session's interpreter, never a file.
	Env map[string]string
}

const initFile = "__init__.py"

// LibraryFromFile makes a library of one Python file: "tools.py" is imported
// as tools. Its docstring becomes Docs.
func LibraryFromFile(path string) (Library, error) {
	source, err := plainfile.Read(context.Background(), path)
	if err != nil {
		return Library{}, fmt.Errorf("read library: %w", err)
	}
	name, found := strings.CutSuffix(filepath.Base(path), ".py")
	if !found {
		return Library{}, fmt.Errorf("read library: %s is not a .py file", path)
	}
	library := Library{Name: name, Files: map[string]string{initFile: string(source)}, Docs: docstring(string(source))}
	return library, library.check("read library " + path)
}

// LibraryFromDir makes a library of a Python package: the directory's name is
// what is imported. Its README.md, or else the package's docstring, becomes
// Docs. Hidden files, __pycache__ and links are left out.
func LibraryFromDir(path string) (Library, error) {
	library, err := libraryFromDir(path, "README.md")
	if err != nil {
		return Library{}, err
	}
	return library, library.check("read library " + path)
}

// LibraryFromSkillDir makes a library of the Python code of a skill: a
// directory with a SKILL.md, which becomes Docs. The directory's name, with
// underscores for hyphens, is what is imported. When it holds a single Python
// file and no __init__.py, that file's content is the package's.
func LibraryFromSkillDir(path string) (Library, error) {
	library, err := libraryFromDir(path, skillFile)
	if err != nil {
		return Library{}, err
	}
	if _, ok := library.Files[skillFile]; !ok {
		return Library{}, fmt.Errorf("read library %s: no %s there: %w", path, skillFile, ErrNotFound)
	}
	delete(library.Files, skillFile)
	library.Docs = withoutFrontMatter(library.Docs)
	library.Name = strings.ReplaceAll(library.Name, "-", "_")
	if _, ok := library.Files[initFile]; !ok {
		if only := onlyModule(library.Files); only != "" {
			library.Files[initFile] = library.Files[only]
			delete(library.Files, only)
		}
	}
	return library, library.check("read library " + path)
}

func libraryFromDir(dir, docs string) (Library, error) {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return Library{}, fmt.Errorf("read library: %w", err)
	}
	files, err := readTree(absolute)
	if err != nil {
		return Library{}, fmt.Errorf("read library: %w", err)
	}
	library := Library{Name: filepath.Base(absolute), Files: files, Docs: files[docs]}
	if library.Docs == "" {
		library.Docs = docstring(files[initFile])
	}
	return library, nil
}

// readTree returns the regular files below a directory.
func readTree(dir string) (map[string]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files := map[string]string{}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "__pycache__"):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !entry.Type().IsRegular():
			return nil
		}
		data, err := plainfile.ReadIn(context.Background(), root, name)
		files[name] = string(data)
		return err
	})
	return files, err
}

func onlyModule(files map[string]string) string {
	only := ""
	for name := range files {
		if path.Ext(name) != ".py" || strings.Contains(name, "/") {
			continue
		}
		if only != "" {
			return ""
		}
		only = name
	}
	return only
}

// docstring is the text between the triple quotes that a module begins with.
func docstring(source string) string {
	rest := strings.TrimPrefix(source, "\ufeff")
	for {
		rest = strings.TrimLeft(rest, " \t\r\n")
		if !strings.HasPrefix(rest, "#") {
			break
		}
		_, rest, _ = strings.Cut(rest, "\n")
	}
	rest = strings.TrimLeft(rest, "rR")
	for _, quotes := range []string{`"""`, `'''`} {
		if body, found := strings.CutPrefix(rest, quotes); found {
			text, _, closed := strings.Cut(body, quotes)
			if closed {
				return strings.TrimSpace(text)
			}
		}
	}
	return ""
}

// files are the library's files as they are installed: one that consists of
// the module of its name alone is that module.
func (l Library) files() map[string]string {
	module := l.Name + ".py"
	if content, found := l.Files[module]; found && len(l.Files) == 1 {
		return map[string]string{initFile: content}
	}
	return l.Files
}

func (l Library) check(doing string) error {
	if problems := l.problems("Library"); len(problems) > 0 {
		return fmt.Errorf("%s: %w", doing, &ConfigError{Problems: problems})
	}
	return nil
}

func (l Library) problems(field string) []Problem {
	v := validator{}
	if !variableName.MatchString(l.Name) || pythonKeyword(l.Name) {
		v.problem(field+".Name", quoted(l.Name), "write a name that Python can import: letters, digits and underscores, no digit first")
	}
	if len(l.Files) == 0 {
		v.problem(field+".Files", "", "a library has at least one file")
	}
	files := l.files()
	if _, inner := files[l.Name+".py"]; inner {
		if _, named := files[initFile]; !named {
			v.problem(atKey(field+".Files", l.Name+".py"), "", "write \"__init__.py\": as it is, it would be imported as %s.%s", l.Name, l.Name)
		}
	}
	for _, name := range sorted(l.Files) {
		if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\\\x00:") || !utf8.ValidString(name) {
			v.problem(atKey(field+".Files", name), "", "write a path inside the package, such as \"__init__.py\"")
		}
	}
	for _, name := range sorted(l.Env) {
		if !variableName.MatchString(name) {
			v.problem(atKey(field+".Env", name), "", variableRule)
		} else if message := unsendable(l.Env[name]); message != "" {
			v.problem(atKey(field+".Env", name), "", "%s", message)
		}
	}
	return v.problems
}
