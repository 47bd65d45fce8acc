package seer

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

// Session is what every session of an agent can do: [NotebookSession],
// [CLISession], [LocalSession] and [LocalNotebookSession]. A session may be
// used from several goroutines; code is run one piece after another.
type Session interface {
	// Exec runs Python code. Variables stay for the next call. The value of
	// the last expression is an output, as in a REPL. Code that raises gives a
	// *[KernelError], with the Result up to there. When ctx ends the code is
	// interrupted.
	Exec(ctx context.Context, code string) (*Result, error)
	// Setup adds a workspace to what the session has already: files,
	// libraries, skills; then it runs the init code.
	Setup(ctx context.Context, workspace *Workspace) error
	// MCPConfig is what an agent's MCP client takes to reach the session's
	// tools: a server on a loopback port of this program, started by the first
	// call, with a secret token. nil after Close.
	MCPConfig() map[string]MCPServer
	// MCPHandler serves the same tools wherever it is mounted. It asks for no
	// token: put it behind your own authentication.
	MCPHandler() http.Handler
	// ModelInfoText tells an agent which models and repositories there are.
	ModelInfoText() string
	// WorkspacePath is the directory where the code runs.
	WorkspacePath() string
	// Close ends what the session has started. It may be called again.
	Close(ctx context.Context) error
}

// modelInfoText says what is there without a word on hidden models but their
// variable. Loaded means that the variables exist already.
func modelInfoText(models []ModelHandle, repos []RepoHandle, loaded bool) string {
	var b strings.Builder
	if len(models) > 0 {
		if loaded {
			b.WriteString("Models, loaded and ready to use:\n")
		} else {
			b.WriteString("Models:\n")
		}
	}
	for _, m := range models {
		switch {
		case m.Hidden:
			fmt.Fprintf(&b, "- variable %s: its identity is hidden\n", m.VarName)
			continue
		case loaded:
			fmt.Fprintf(&b, "- variable %s: %s, in %s", m.VarName, m.Name, m.Path)
		default:
			fmt.Fprintf(&b, "- %s, in %s", m.Name, m.Path)
		}
		if m.IsPEFT {
			fmt.Fprintf(&b, "; an adapter of %s, in %s", m.BaseModel, m.BasePath)
		}
		b.WriteByte('\n')
	}
	if len(repos) > 0 {
		b.WriteString("Repositories:\n")
	}
	for _, r := range repos {
		fmt.Fprintf(&b, "- %s, in %s\n", r.Name, r.Path)
	}
	return b.String()
}
