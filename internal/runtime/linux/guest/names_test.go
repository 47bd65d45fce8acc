//go:build linux

package guest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// byName are the calls, by package, that look a path up from this process's own
// root and working directory, follow every link and have its rights.
var byName = map[string]string{
	"os": "Chdir Chmod Chown Chtimes CopyFS Create CreateTemp DirFS Lchown Link Lstat Mkdir MkdirAll MkdirTemp Open OpenFile OpenInRoot " +
		"OpenRoot ReadDir ReadFile Readlink Remove RemoveAll Rename StartProcess Stat Symlink Truncate WriteFile",
	"unix": "Access Chdir Chmod Chown Chroot Creat Getxattr Lchown Lgetxattr Link Listxattr Lsetxattr Lstat Mkdir Mkfifo Mknod Mount Open " +
		"Readlink Removexattr Rename Rmdir Setxattr Stat Statfs Symlink Truncate Unlink Unmount Utimes",
	"syscall": "Access Chdir Chmod Chown Chroot Creat Exec Lchown Link Lstat Mkdir Mkfifo Mknod Mount Open Readlink Rename Rmdir Stat " +
		"Statfs Symlink Truncate Unlink Unmount Utimes",
	"filepath": "EvalSymlinks Glob Walk WalkDir",
	"exec":     "Command CommandContext LookPath",
}

// namesAllowed are the functions that may, and why.
var namesAllowed = map[string]string{
	"moveThread": "the host's control groups, by the host",
	"pivot":      "nothing of the sandbox runs yet, and the only path is the root",
}

// The first process of a sandbox looks up no path of it by name: package inroot
// does that.
func TestNoPathByName(t *testing.T) {
	files := token.NewFileSet()
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	looked := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			function, _ := d.(*ast.FuncDecl)
			if function != nil && namesAllowed[function.Name.Name] != "" {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if pkg, ok := s.X.(*ast.Ident); ok {
					looked++
					forbidden := strings.Fields(byName[pkg.Name])
					assert.NotContains(t, forbidden, s.Sel.Name, "%s: %s.%s", files.Position(s.Pos()), pkg.Name, s.Sel.Name)
				}
				return true
			})
		}
	}
	assert.Greater(t, looked, 100)
}
