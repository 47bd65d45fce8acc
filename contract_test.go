package seer_test

import (
	"context"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"testing"
	"time"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/local"
	"github.com/ajobi-uhc/seer-go/seertest"
)

// What programs outside this repository are compiled against. A line here that
// no longer compiles breaks them.
var (
	_ func(seer.SandboxConfig, ...seer.Option) *seer.Sandbox                                                 = seer.NewSandbox
	_ func(context.Context, *seer.Snapshot, seer.SandboxConfig, ...seer.Option) (*seer.Sandbox, error)       = seer.FromSnapshot
	_ func(context.Context, string, ...seer.Option) (*seer.Sandbox, error)                                   = seer.FromID
	_ func(string) (seer.SandboxConfig, error)                                                               = seer.LoadConfig
	_ func(seer.SandboxConfig, ...seer.Option) *seer.ScopedSandbox                                           = seer.NewScopedSandbox
	_ func(context.Context, *seer.Snapshot, seer.SandboxConfig, ...seer.Option) (*seer.ScopedSandbox, error) = seer.ScopedFromSnapshot
	_ func(context.Context, string, ...seer.Option) (*seer.ScopedSandbox, error)                             = seer.ScopedFromID

	_ func(context.Context, *seer.Sandbox, *seer.Workspace, *seer.NotebookOptions) (*seer.NotebookSession, error) = seer.NewNotebookSession
	_ func(context.Context, *seer.Workspace, string, *seer.LocalOptions) (*seer.LocalSession, error)              = seer.NewLocalSession
	_ func(context.Context, *seer.Sandbox, *seer.Workspace, *seer.CLIOptions) (*seer.CLISession, error)           = seer.NewCLISession
	_ func(context.Context, *seer.Workspace, *seer.LocalNotebookOptions) (*seer.LocalNotebookSession, error)      = seer.NewLocalNotebookSession

	_ func(string) (seer.Library, error) = seer.LibraryFromFile
	_ func(string) (seer.Library, error) = seer.LibraryFromDir
	_ func(string) (seer.Library, error) = seer.LibraryFromSkillDir

	_ func(seer.Backend) seer.Option                        = seer.WithBackend
	_ func(string) seer.Option                              = seer.WithAppName
	_ func(*slog.Logger) seer.Option                        = seer.WithLogger
	_ func(func(seer.Event)) seer.Option                    = seer.WithProgress
	_ func(string) seer.Option                              = seer.WithEnvFile
	_ func(...local.Option) seer.Backend                    = local.New
	_ func(...string) local.Option                          = local.AllowHost
	_ func(testing.TB, ...seertest.Option) *seertest.Server = seertest.NewServer

	_ error = (*seer.ConfigError)(nil)
	_ error = (*seer.BuildError)(nil)
	_ error = (*seer.ExitError)(nil)
	_ error = (*seer.TimeoutError)(nil)
	_ error = (*seer.StartError)(nil)
	_       = []error{
		seer.ErrNotStarted, seer.ErrTerminated, seer.ErrSandboxLost, seer.ErrNoGPU, seer.ErrUnauthorized,
		seer.ErrNoBackend, seer.ErrGatedModel, seer.ErrNotFound,
	}
)

type sandboxContract interface {
	Start(context.Context) (*seer.Sandbox, error)
	Exec(context.Context, string) (string, error)
	ExecPython(context.Context, string) (string, error)
	Command(string, ...string) *seer.Cmd
	WriteFile(context.Context, string, []byte) error
	ReadFile(context.Context, string) ([]byte, error)
	EnsureDir(context.Context, string) error
	Upload(context.Context, string, string) error
	Download(context.Context, string, string) error
	FS(context.Context) fs.FS
	Snapshot(context.Context, string) (*seer.Snapshot, error)
	Terminate(context.Context) error
	Wait(context.Context) error
	Done() <-chan struct{}
	Logs(context.Context) iter.Seq2[string, error]
	Close() error
	SandboxID() string
	JupyterURL() string
	CodeServerURL() string
	URL(context.Context, int) (string, error)
	ModelHandles() []seer.ModelHandle
	RepoHandles() []seer.RepoHandle
	Backend() string
}

type scopedContract interface {
	Start(context.Context) (*seer.ScopedSandbox, error)
	Serve(context.Context, string, *seer.ServeOptions) (*seer.Service, error)
	Exec(context.Context, string) (string, error)
}

type serviceContract interface {
	Library() seer.Library
	MCPConfig() map[string]seer.MCPServer
	Prompt() string
	Skill() seer.Skill
	Functions() []seer.Function
	Call(context.Context, string, map[string]any, any) error
}

type sessionContract interface {
	Exec(context.Context, string) (*seer.Result, error)
	Setup(context.Context, *seer.Workspace) error
	MCPConfig() map[string]seer.MCPServer
	MCPHandler() http.Handler
	ModelInfoText() string
	WorkspacePath() string
	Close(context.Context) error
}

type commandContract interface {
	Run(context.Context) error
	Start(context.Context) error
	Wait() error
	Output(context.Context) ([]byte, error)
	CombinedOutput(context.Context) ([]byte, error)
	Kill() error
}

type resultContract interface {
	Text() string
	Images() []seer.Image
}

var (
	_ sandboxContract = (*seer.Sandbox)(nil)
	_ scopedContract  = (*seer.ScopedSandbox)(nil)
	_ serviceContract = (*seer.Service)(nil)
	_ sessionContract = (*seer.NotebookSession)(nil)
	_ sessionContract = (*seer.LocalSession)(nil)
	_ sessionContract = (*seer.CLISession)(nil)
	_ sessionContract = (*seer.LocalNotebookSession)(nil)
	_ commandContract = (*seer.Cmd)(nil)
	_ resultContract  = (*seer.Result)(nil)
)

// contract uses every field that the documents name.
func contract(ctx context.Context, w *seer.Workspace, s *seer.Sandbox, server *seertest.Server) {
	_ = seer.SandboxConfig{
		GPU: "A100", GPUCount: 1, Models: []seer.ModelConfig{{
			Name: "org/model", VarName: "model", Hidden: true, IsPEFT: true, BaseModel: "org/base", Revision: "main", LoadAsPEFT: true,
		}},
		Repos:          []seer.RepoConfig{{URL: "org/repo", Install: "pip install -e .", Branch: "b", Commit: "c", Dockerfile: "d", TokenEnv: "T"}},
		PythonPackages: []string{}, SystemPackages: []string{}, Secrets: []string{}, Timeout: time.Hour,
		LocalFiles: []seer.Mount{{Source: "a", Target: "/a"}}, LocalDirs: []seer.Mount{}, Debug: true,
		ExecutionMode: seer.ModeNotebook, PythonVersion: "3.11", Env: map[string]string{}, EncryptedPorts: []int{},
		CPU: 1, MemoryMiB: 1, IdleTimeout: 1, MaxLifetime: 1, Regions: []string{}, BlockNetwork: true, CIDRAllowlist: []string{},
		Tags: map[string]string{}, NotebookPackages: []string{}, DockerInDocker: true, JupyterPort: 8888, RPCPort: 8080,
		DebugPort: 8443, WaitTimeout: 1, RPCTimeout: 1, SetupCommands: []string{},
	}
	_ = seer.ModeCLI
	_ = seer.Snapshot{ImageID: "", Description: "", CreatedAt: time.Time{}}
	_ = seer.Workspace{
		LocalDirs: []seer.Mount{}, LocalFiles: []seer.Mount{}, Libraries: []seer.Library{}, Skills: []seer.Skill{}, SkillDirs: []string{},
		CustomInitCode: "", SkipModelPreload: true, ShowModelLoading: true,
	}
	_ = seer.Library{Name: "", Files: map[string]string{}, Docs: "", Env: map[string]string{}}
	_ = seer.Skill{Name: "", Description: "", Content: ""}.Markdown()
	_ = seer.SkillFromSource("name", "description", "source")
	_ = seer.MCPServer{Type: "", Command: "", Args: []string{}, Env: map[string]string{}, URL: "", Headers: map[string]string{}}
	_ = seer.ServeOptions{Name: "model_tools", Workspace: w}
	_ = w.LibraryDocs()
	cmd := s.Command("ls")
	cmd.Dir, cmd.Env, cmd.PTY, cmd.Stdin, cmd.Stdout, cmd.Stderr = "/", append(cmd.Env, "A=b"), true, nil, nil, nil
	var plan *seer.Plan
	plan, _ = seer.SandboxConfig{}.Plan(ctx)
	_ = plan
	_ = seer.SandboxConfig{}.Validate(seer.WithEnvFile(".env"))
	_ = server.Backend()
	_ = server.Calls()
	server.Fail("SandboxCreate", nil, 1)
	server.Delay("SandboxCreate", time.Second)
	server.HandleExec(func(seertest.Exec) seertest.Result { return seertest.Result{} })
	_ = seer.Modal()
}

var _ = contract
