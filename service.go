package seer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

// Service is a Python file whose exposed functions can be called, and what an
// agent may be given of it. Get one from [ScopedSandbox.Serve]. It may be used
// from several goroutines, and serves on when its Go value is forgotten.
type Service struct {
	*mcpHost
	sandbox     *ScopedSandbox
	server      *functionServer
	description *rpc.Description
	library     Library
	timeout     time.Duration // of each call; 0 = unknown
}

func newService(s *ScopedSandbox, server *functionServer, description *rpc.Description) (*Service, error) {
	files, err := rpc.Library(description.Name, description.Functions)
	if err != nil {
		return nil, err
	}
	token := server.serviceToken(description.Name)
	v := &Service{sandbox: s, server: server, description: description}
	v.library = Library{
		Name:  description.Name,
		Files: files,
		Docs:  description.Prompt(),
		Env:   rpc.LibraryEnv(description.Name, rpc.NewServer(server.url, "", nil).ServiceURL(description.Name), token),
	}
	v.mcpHost = newLimitedMCPHost(description.Name, mcpserver.Tools{Functions: serviceTools{v}}, "", s.opts)
	if err := s.whenLeft(func() { _ = v.closeMCP() }); err != nil {
		return nil, errors.Join(err, v.closeMCP())
	}
	return v, nil
}

// Name is what the service is called by.
func (v *Service) Name() string { return v.description.Name }

// Function is an exposed function of a [Service].
type Function struct {
	Name string
	Doc  string // docstring without its indentation; "" = none
	// Signature is as Python shows it: "(text: str, *, scale: float = 1.0) -> list[float]".
	Signature string
	Stream    bool // it yields items, which come one by one
	Serial    bool // its calls run one at a time
	// InputSchema is the JSON Schema of the object of arguments.
	InputSchema json.RawMessage
	// OutputSchema is the JSON Schema of the result, as its annotation tells;
	// of the list of all items if the function streams.
	OutputSchema json.RawMessage
}

// Functions returns the exposed functions in the order of the file.
func (v *Service) Functions() []Function {
	functions := make([]Function, len(v.description.Functions))
	for i, f := range v.description.Functions {
		functions[i] = Function{
			Name: f.Name, Doc: f.Doc, Signature: f.Signature, Stream: f.Stream, Serial: f.Serial,
			InputSchema: f.InputSchema, OutputSchema: f.OutputSchema,
		}
	}
	return functions
}

// Library is a Python package with the functions, which run in the sandbox:
// standard library only, Python 3.9 and newer. List it in
// [Workspace.Libraries]. Its source holds no secret; address and token are in
// its Env.
func (v *Service) Library() Library {
	library := v.library
	library.Files, library.Env = maps.Clone(library.Files), maps.Clone(library.Env)
	return library
}

// Prompt describes the functions to an agent.
func (v *Service) Prompt() string { return v.description.Prompt() }

// Skill teaches an agent to use the Library.
func (v *Service) Skill() Skill { return Skill(v.description.Skill()) }

// Call runs a function. kwargs are its arguments by name; a *args parameter
// takes a list under its name, a **kwargs parameter an object. They are
// converted as by encoding/json, but NaN, infinities, []byte, time.Time and
// time.Duration reach Python as what they are. What the function returns is
// stored in what result points to, likewise; nil drops it. The items of a
// function that streams are collected in a list.
//
// When ctx ends, the call is cancelled in the sandbox: a coroutine at once,
// other code at its next Python instruction. A function that raises is a
// *[CallError].
func (v *Service) Call(ctx context.Context, function string, kwargs map[string]any, result any) error {
	client, err := v.client()
	if err == nil {
		err = client.Call(ctx, function, kwargs, result)
	}
	return v.callError(function, err)
}

// CallAs is [Service.Call] for a result of type T.
func CallAs[T any](ctx context.Context, service *Service, function string, kwargs map[string]any) (T, error) {
	var result T
	err := service.Call(ctx, function, kwargs, &result)
	return result, err
}

// StreamAs runs a function that streams and yields its items as they come. An
// error is the last thing yielded. Leaving the loop cancels the call.
func StreamAs[T any](ctx context.Context, service *Service, function string, kwargs map[string]any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var nothing T
		client, err := service.client()
		if err != nil {
			yield(nothing, service.callError(function, err))
			return
		}
		for value, err := range client.CallStream(ctx, function, kwargs) {
			if err != nil {
				yield(nothing, service.callError(function, err))
				return
			}
			var item T
			if err := value.Decode(&item); err != nil {
				yield(nothing, fmt.Errorf("call %s: decode item: %w", function, err))
				return
			}
			if !yield(item, nil) {
				return
			}
		}
	}
}

// Health checks that the service is there and ready. It does not wait for
// calls that run.
func (v *Service) Health(ctx context.Context) error {
	client, err := v.client()
	if err == nil {
		err = client.Health(ctx)
	}
	return v.sandbox.serviceError("check service "+v.Name(), err)
}

// Logs streams what the service's code prints, from the first line that is
// kept (4 MiB are), and the tracebacks of its failed calls. It ends with the
// service or with ctx.
func (v *Service) Logs(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for line, err := range v.server.control().Logs(ctx, v.Name(), 0, true) {
			if err != nil {
				yield("", v.sandbox.serviceError("read log of "+v.Name(), err))
				return
			}
			if !yield(line.Line, nil) {
				return
			}
		}
	}
}

// Close ends what this program does for the service: the port of MCPConfig.
// The service serves on; [ScopedSandbox.Service] finds it again.
func (v *Service) Close() error { return v.closeMCP() }

// Remove ends the service, whichever file its name serves by now. Calls that
// run fail. It may be called again.
func (v *Service) Remove(ctx context.Context) error {
	err := v.server.control().Remove(ctx, v.Name())
	if errors.Is(err, rpc.ErrNotServed) {
		err = nil
	}
	return errors.Join(v.sandbox.serviceError("remove service "+v.Name(), err), v.closeMCP())
}

func (v *Service) client() (*rpc.Client, error) {
	if _, err := v.sandbox.running(); err != nil {
		return nil, err
	}
	return v.server.control().Client(v.Name(), v.server.serviceToken(v.Name())), nil
}

// serviceTools are the functions as tools of an MCP server.
type serviceTools struct{ service *Service }

func (t serviceTools) Functions() []mcpserver.Function {
	var tools []mcpserver.Function
	for _, f := range t.service.Functions() {
		description := f.Name + f.Signature
		if f.Doc != "" {
			description = f.Doc + "\n\n" + description
		}
		tools = append(tools, mcpserver.Function{Name: f.Name, Description: description, Input: f.InputSchema})
	}
	return tools
}

func (t serviceTools) CallFunction(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	client, err := t.service.client()
	if err != nil {
		return nil, t.service.callError(name, err)
	}
	result, err := client.CallJSON(ctx, name, arguments)
	return result, t.service.callError(name, err)
}
