package seer_test

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryFunctionHasAnExample keeps the documentation whole: each function
// that a program may call shows how.
func TestEveryFunctionHasAnExample(t *testing.T) {
	shownBy := map[string]string{ // those that belong together
		"ModalToken":       "Modal",
		"ModalEnvironment": "Modal",
		"Orphans":          "Reap",
	}
	paths, err := filepath.Glob("*.go")
	require.NoError(t, err)
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		require.NoError(t, err)
		files = append(files, file)
	}
	pkg, err := doc.NewFromFiles(fset, files, module)
	require.NoError(t, err)
	functions := pkg.Funcs
	for _, typ := range pkg.Types {
		functions = append(functions, typ.Funcs...) // those that return it
	}
	examples := map[string][]*doc.Example{}
	for _, f := range functions {
		examples[f.Name] = f.Examples
	}
	assert.Contains(t, examples, "NewSandbox")
	for _, f := range functions {
		other, shared := shownBy[f.Name]
		switch {
		case f.Name == "RegisterLocal": // for the local package
		case shared:
			assert.True(t, calls(examples[other], f.Name), "Example%s does not call %s", other, f.Name)
		default:
			assert.NotEmpty(t, f.Examples, "write func Example%s, in an example_*_test.go", f.Name)
		}
	}
}

// calls reports whether one of the examples calls a function of the package.
func calls(examples []*doc.Example, function string) bool {
	found := false
	for _, example := range examples {
		ast.Inspect(example.Code, func(node ast.Node) bool {
			if call, ok := node.(*ast.CallExpr); ok {
				selector, ok := call.Fun.(*ast.SelectorExpr)
				found = found || ok && selector.Sel.Name == function
			}
			return true
		})
	}
	return found
}
