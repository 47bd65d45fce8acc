package seer

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/ajobi-uhc/seer-go/internal/modelcache/loader"
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
	// ModelInfoText tells an agent which models and repositories there are, and
	// which variables hold the models or how to load them there.
	ModelInfoText() string
	// WorkspacePath is the directory where the code runs.
	WorkspacePath() string
	// Close ends what the session has started. It may be called again.
	Close(ctx context.Context) error
}

// modelInfoText says what is there without a word on hidden models but their
// variables. Loaded means that these exist already.
func modelInfoText(models []ModelHandle, repos []RepoHandle, loaded bool) string {
	var b strings.Builder
	switch {
	case len(models) == 0:
	case loaded:
		b.WriteString("Models, loaded and ready to use:\n")
	default:
		fmt.Fprintf(&b, "Models, not loaded yet; this Python code sets their variables: exec(open(%q).read())\n", loader.ScriptPath)
	}
	for _, m := range models {
		fmt.Fprintf(&b, "- variables %s and %s: ", m.VarName, loader.Model{Var: m.VarName}.TokenizerVar())
		if m.Hidden {
			b.WriteString("a model whose identity is hidden\n")
			continue
		}
		fmt.Fprintf(&b, "%s, in %s", m.Name, m.Path)
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
