package rpc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Server is the control side of a running server: it loads, lists and removes
// services. It may be used from several goroutines.
type Server struct {
	endpoint
}

// NewServer returns the control side of the server at a base URL. The token is
// that of its Settings. A nil client is http.DefaultClient.
func NewServer(baseURL, token string, client *http.Client) *Server {
	return &Server{newEndpoint(baseURL, token, client)}
}

// Spec is a service to load. Name, Token, Filename and Source are required.
type Spec struct {
	// Name is a Python identifier of at most 64 ASCII letters, digits and _.
	Name string
	// Token is the bearer token of the service's callers.
	Token string
	// Filename is the name that tracebacks show.
	Filename string
	// Source is the content of the interface file, in whatever encoding it
	// declares.
	Source string
	// Dir is the working directory, and the first place where modules are
	// sought; "" is the server's own directory, where none are.
	Dir string
	// PythonPath are further folders with modules.
	PythonPath []string
	// Env is added to the server's environment.
	Env map[string]string
	// Models is the table behind get_model_path and list_configured_models.
	Models []Model
	// Timeout bounds each call; 0 is no bound.
	Timeout time.Duration
	// Drain is how long calls of a replaced service may run on; 0 is 30 s.
	Drain time.Duration
	// MaxRequest bounds the arguments of a call in bytes; 0 is 128 MiB.
	MaxRequest int64
	// Tracebacks sends the traceback of a failed call to its caller too.
	Tracebacks bool
	// Arrays sends arrays to Python libraries as base64 instead of lists.
	Arrays bool
}

// Model is a model that an interface file may load.
type Model struct {
	Name    string `json:"name"`
	VarName string `json:"var_name,omitempty"`
	Path    string `json:"path"`
	// Base and BasePath are those of an adapter. Base may be left out.
	Base     string `json:"base,omitempty"`
	BasePath string `json:"base_path,omitempty"`
}

func (s Spec) encode() ([]byte, error) {
	return json.Marshal(struct {
		Token      string            `json:"token"`
		Filename   string            `json:"filename"`
		Source     []byte            `json:"source"` // base64: JSON has no bytes
		Dir        string            `json:"dir,omitempty"`
		PythonPath []string          `json:"python_path,omitempty"`
		Env        map[string]string `json:"env,omitempty"`
		Models     []Model           `json:"models,omitempty"`
		Timeout    float64           `json:"timeout,omitempty"`
		Drain      float64           `json:"drain,omitempty"`
		MaxRequest int64             `json:"max_request,omitempty"`
		Tracebacks bool              `json:"tracebacks,omitempty"`
		Arrays     bool              `json:"arrays,omitempty"`
	}{
		s.Token, s.Filename, []byte(s.Source), s.Dir, s.PythonPath, s.Env, s.Models,
		s.Timeout.Seconds(), s.Drain.Seconds(), s.MaxRequest, s.Tracebacks, s.Arrays,
	})
}

// Load serves an interface file under a name, in the place of what the name
// served before: new calls go to the new file once it is loaded, calls that
// run get Spec.Drain to finish, and if loading fails the old file serves on.
//
// A module may take long to load. Each line that it prints meanwhile goes to
// progress, which may be nil. A file that cannot be served is a *LoadError.
// The end of ctx gives the load up.
func (s *Server) Load(ctx context.Context, spec Spec, progress func(line string)) (*Description, error) {
	body, err := spec.encode()
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", spec.Filename, err)
	}
	response, err := s.send(ctx, http.MethodPost, servicePath(spec.Name), body, nil)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", spec.Filename, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		data, _ := readFailure(response.Body)
		return nil, fmt.Errorf("load %s: %w", spec.Filename, refusal(response.StatusCode, data))
	}
	for line, err := range jsonLines[loadEvent](response.Body, maxDescription) {
		switch {
		case err != nil:
			return nil, fmt.Errorf("load %s: %w", spec.Filename, err)
		case line.Loaded != nil:
			return line.Loaded, nil
		case line.Failed != nil:
			f := line.Failed
			return nil, &LoadError{File: spec.Filename, Type: f.Type, Message: f.Message, Traceback: f.Traceback}
		case progress != nil:
			progress(line.Line)
		}
	}
	return nil, fmt.Errorf("load %s: %w", spec.Filename, io.ErrUnexpectedEOF)
}

type loadEvent struct {
	Line   string       `json:"line"`
	Loaded *Description `json:"loaded"`
	Failed *failure     `json:"failed"`
}

// Client returns the service of a name as its callers see it.
func (s *Server) Client(name, token string) *Client {
	return NewClient(s.ServiceURL(name), name, token, s.http)
}

// ServiceURL returns the base URL of a service's callers.
func (s *Server) ServiceURL(name string) string {
	return s.url + "/s/" + url.PathEscape(name)
}

// Services returns the names that are served, sorted.
func (s *Server) Services(ctx context.Context) ([]string, error) {
	var answer struct {
		Services []string `json:"services"`
	}
	if err := s.exchange(ctx, http.MethodGet, "/admin/services", &answer); err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	return answer.Services, nil
}

// Describe returns what a service offers; ErrNotServed if there is none.
func (s *Server) Describe(ctx context.Context, name string) (*Description, error) {
	var description Description
	if err := s.exchange(ctx, http.MethodGet, servicePath(name), &description); err != nil {
		return nil, fmt.Errorf("describe service %s: %w", name, err)
	}
	return &description, nil
}

// Remove ends a service. Its calls fail with the type ServiceRemoved. A
// service that is not served is ErrNotServed.
func (s *Server) Remove(ctx context.Context, name string) error {
	if err := s.exchange(ctx, http.MethodDelete, servicePath(name), nil); err != nil {
		return fmt.Errorf("remove service %s: %w", name, err)
	}
	return nil
}

// Health checks that the server answers and that it is the one that knows the
// token. It does not wait for any work.
func (s *Server) Health(ctx context.Context) error {
	if err := s.identify(ctx, ""); err != nil {
		return fmt.Errorf("check server: %w", err)
	}
	return nil
}

// LogLine is one line of a service's log: what its code printed, and the
// tracebacks of its failed calls.
type LogLine struct {
	// Number counts from 1 over the life of the name, restarts included.
	Number int64  `json:"number"`
	Line   string `json:"line"`
}

// Logs returns the lines after a number; 0 is all that the server kept (the
// last 4 MiB). With follow it goes on until the service is removed, the loop
// is left or ctx ends, whose error it then yields.
func (s *Server) Logs(ctx context.Context, name string, after int64, follow bool) iter.Seq2[LogLine, error] {
	query := url.Values{"after": {strconv.FormatInt(after, 10)}}
	if follow {
		query.Set("follow", "1")
	}
	return func(yield func(LogLine, error) bool) {
		response, err := s.send(ctx, http.MethodGet, servicePath(name)+"/logs?"+query.Encode(), nil, nil)
		if err != nil {
			yield(LogLine{}, fmt.Errorf("read log of %s: %w", name, err))
			return
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			data, _ := readFailure(response.Body)
			yield(LogLine{}, fmt.Errorf("read log of %s: %w", name, refusal(response.StatusCode, data)))
			return
		}
		for line, err := range jsonLines[LogLine](response.Body, maxLogLine) {
			if err != nil {
				yield(LogLine{}, fmt.Errorf("read log of %s: %w", name, err))
				return
			}
			if !yield(line, nil) {
				return
			}
		}
	}
}

func servicePath(name string) string {
	return "/admin/services/" + url.PathEscape(name)
}

// jsonLines reads one JSON value a line, of at most so many bytes.
func jsonLines[T any](body io.Reader, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		reader := bufio.NewReader(body)
		for {
			line, err := readLine(reader, limit)
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return
			}
			if err != nil {
				yield(zero, err)
				return
			}
			var value T
			if err := json.Unmarshal(line, &value); err != nil {
				yield(zero, err)
				return
			}
			if !yield(value, nil) {
				return
			}
		}
	}
}

func readLine(reader *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := reader.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return line, tooLarge("line", int64(limit))
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
