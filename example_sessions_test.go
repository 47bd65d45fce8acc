package seer_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	seer "github.com/ajobi-uhc/seer-go"
)

func ExampleNewLocalSession() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	workspace := &seer.Workspace{Libraries: []seer.Library{{
		Name:  "greetings",
		Files: map[string]string{"__init__.py": "def greet(name): return f'Hello, {name}!'\n"},
	}}}
	session, err := seer.NewLocalSession(ctx, workspace, dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close(ctx)

	result, err := session.Exec(ctx, "import greetings\nprint(greetings.greet('Go'))\n6 * 7")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Text())

	_, err = session.Exec(ctx, "1 / 0")
	var raised *seer.KernelError
	if errors.As(err, &raised) {
		fmt.Println(raised.Name)
	}
	// Output:
	// Hello, Go!
	// 42
	// ZeroDivisionError
}

func ExampleNewCLISession() {
	ctx := context.Background()
	sandbox := started(ctx)
	defer sandbox.Terminate(context.WithoutCancel(ctx))
	workspace := &seer.Workspace{
		LocalFiles:     []seer.Mount{{Source: "examples/local/project/numbers.csv", Target: "numbers.csv"}},
		CustomInitCode: "import csv",
	}
	session, err := seer.NewCLISession(ctx, sandbox, workspace, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close(context.WithoutCancel(ctx))

	result, err := session.Exec(ctx, "rows = list(csv.DictReader(open('numbers.csv')))\nlen(rows)")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Text())
	out, err := session.Shell(ctx, "wc -l <numbers.csv")
	fmt.Print(out, err)
	// Output:
	// 3
	// 4
	// <nil>
}

// It has no output to compare: running it would install Jupyter.
func ExampleNewNotebookSession() {
	ctx := context.Background()
	config := seer.SandboxConfig{ExecutionMode: seer.ModeNotebook, NotebookPackages: []string{"jupyterlab"}}
	sandbox, err := seer.NewSandbox(config).Start(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sandbox.Terminate(context.WithoutCancel(ctx))
	session, err := seer.NewNotebookSession(ctx, sandbox, nil, &seer.NotebookOptions{Name: "findings"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Close(context.WithoutCancel(ctx)) // the notebook stays, at session.NotebookPath()

	fmt.Println("look on at", sandbox.JupyterURL())
	if _, err := session.AddMarkdown("# Findings"); err != nil {
		fmt.Println(err)
		return
	}
	result, err := session.Exec(ctx, "sum(range(10))")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Text())
}

// It has no output to compare: it needs a Python that has Jupyter.
func ExampleNewLocalNotebookSession() {
	ctx := context.Background()
	session, err := seer.NewLocalNotebookSession(ctx, nil, &seer.LocalNotebookOptions{
		NotebookOptions: seer.NotebookOptions{Name: "findings"},
		Python:          ".venv/bin/python",
		Secrets:         []string{"SERVICE_KEY"}, // the kernel's: it gets nothing else of .env
	})
	if err != nil {
		fmt.Println(err) // it says how to install what is missing
		return
	}
	defer session.Close(context.WithoutCancel(ctx))

	result, err := session.Exec(ctx, "import platform\nplatform.node()")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Text())
}

func ExampleWorkspace_LibraryDocs() {
	workspace := &seer.Workspace{Libraries: []seer.Library{{Name: "greetings", Docs: "Call `greet(name)`."}}}
	fmt.Println(workspace.LibraryDocs())
	// Output:
	// ## greetings
	//
	// ```python
	// import greetings
	// ```
	//
	// Call `greet(name)`.
}

func ExampleLibraryFromFile() {
	library, err := seer.LibraryFromFile("examples/local/project/averages.py")
	if err != nil {
		fmt.Println(err)
		return
	}
	workspace := &seer.Workspace{Libraries: []seer.Library{library}} // for any kind of session
	fmt.Println(workspace.LibraryDocs())
	// Output:
	// ## averages
	//
	// ```python
	// import averages
	// ```
	//
	// Summarises columns of numbers.
	//
	// `summary(path)` returns count, sum and mean; `column(path)` the numbers.
}

func ExampleLibraryFromDir() {
	library, err := seer.LibraryFromDir("testdata/libraries/wordcount")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(library.Name, slices.Sorted(maps.Keys(library.Files)))
	fmt.Println(strings.TrimSpace(library.Docs)) // its README.md
	// Output:
	// wordcount [README.md __init__.py count.py]
	// `wordcount.count(text)` returns how often each word is there.
}

// The agent reads the skill in its workspace, and imports its code.
func ExampleLibraryFromSkillDir() {
	const skill = "testdata/libraries/text-statistics"
	library, err := seer.LibraryFromSkillDir(skill)
	if err != nil {
		fmt.Println(err)
		return
	}
	workspace := &seer.Workspace{SkillDirs: []string{skill}, Libraries: []seer.Library{library}}
	fmt.Println(workspace.LibraryDocs())
	// Output:
	// ## text_statistics
	//
	// ```python
	// import text_statistics
	// ```
	//
	// Call `text_statistics.lines(text)`.
}

func ExampleSkillFromSource() {
	skill := seer.SkillFromSource("load-runs", "Use to read the results of earlier runs.",
		"import json\nruns = [json.loads(line) for line in open('/workspace/runs.jsonl')]\n")
	workspace := &seer.Workspace{Skills: []seer.Skill{skill}} // for any kind of session
	fmt.Println(workspace.Skills[0].Markdown())
	// Output:
	// ---
	// name: "load-runs"
	// description: "Use to read the results of earlier runs."
	// ---
	//
	// # load-runs
	//
	// Use to read the results of earlier runs.
	//
	// ```python
	// import json
	// runs = [json.loads(line) for line in open('/workspace/runs.jsonl')]
	// ```
}
