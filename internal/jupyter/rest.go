package jupyter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// KernelInfo is the server's description of a kernel.
type KernelInfo struct {
	ID           string    `json:"id"`
	Name         string    `json:"name"`            // of its kernel spec, such as "python3"
	State        string    `json:"execution_state"` // "starting", "idle", "busy", "dead"
	Connections  int       `json:"connections"`     // clients attached to it
	LastActivity time.Time `json:"last_activity"`
}

// SessionInfo is the server's binding of a notebook's path to a kernel.
type SessionInfo struct {
	ID     string     `json:"id"`
	Path   string     `json:"path"` // below the server's root directory
	Name   string     `json:"name"`
	Type   string     `json:"type"`
	Kernel KernelInfo `json:"kernel"`
}

// Kernels lists the kernels that run on the server.
func (s *Server) Kernels(ctx context.Context) ([]KernelInfo, error) {
	var kernels []KernelInfo
	if err := s.ask(ctx, "/api/kernels", &kernels); err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	return kernels, nil
}

// Sessions lists the notebooks that have a kernel.
func (s *Server) Sessions(ctx context.Context) ([]SessionInfo, error) {
	var sessions []SessionInfo
	if err := s.ask(ctx, "/api/sessions", &sessions); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return sessions, nil
}

// Exists reports whether there is something at a path below the server's root
// directory.
func (s *Server) Exists(ctx context.Context, path string) (bool, error) {
	err := s.call(ctx, http.MethodGet, "/api/contents/"+url.PathEscape(path)+"?content=0", nil, nil)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for %s: %w", path, err)
	}
	return true, nil
}

func (s *Server) kernel(ctx context.Context, id string) (KernelInfo, error) {
	var info KernelInfo
	err := s.call(ctx, http.MethodGet, kernelPath(id), nil, &info)
	return info, err
}

func kernelPath(id string) string { return "/api/kernels/" + url.PathEscape(id) }

func sessionPath(id string) string { return "/api/sessions/" + url.PathEscape(id) }

// maxAnswer bounds what a server answers, in bytes; more is no valid JSON.
const maxAnswer = 32 << 20

// askAgain is for how long a question about all kernels may fail.
const askAgain = 5 * time.Second

// ask is call for what tells of all kernels. A server cannot, and answers 500,
// for the moment in which one of them starts (jupyter_server 2.21, whose
// kernels get their last_activity only then).
func (s *Server) ask(ctx context.Context, path string, out any) error {
	wait := backoff{next: 5 * time.Millisecond, limit: 250 * time.Millisecond}
	for until := time.Now().Add(askAgain); ; {
		err := s.call(ctx, http.MethodGet, path, nil, out)
		var api *APIError
		if !errors.As(err, &api) || api.Status != http.StatusInternalServerError || time.Now().After(until) || wait.sleep(ctx) != nil {
			return err
		}
	}
}

// call sends in as JSON and decodes the answer into out; either may be nil.
func (s *Server) call(ctx context.Context, method, path string, in, out any) error {
	return s.request(ctx, s.config.Token, method, path, in, out)
}

func (s *Server) request(ctx context.Context, token, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: encode request: %w", method, path, err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base.String()+path, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	} else {
		// Requests without a body may be repeated when the connection turns
		// out to be closed. The transport does not send an empty list.
		req.Header["Idempotency-Key"] = []string{}
	}
	authorize(req.Header, token)
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusal(resp, method, path)
	}
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s %s: %w", method, path, ctx.Err())
		}
		return fmt.Errorf("%s %s: %w: %w", method, path, ErrNotJupyter, err)
	}
	return nil
}

func authorize(h http.Header, token string) {
	if token != "" {
		h.Set("Authorization", "token "+token)
	}
}

// refusal turns an answer into an error. A server that knows neither the path
// nor how to say so in JSON is no Jupyter server.
func refusal(resp *http.Response, method, path string) error {
	const enough = 16 << 10
	data, err := io.ReadAll(io.LimitReader(resp.Body, enough))
	if err != nil {
		return fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	apiErr := &APIError{Method: method, Path: path, Status: resp.StatusCode}
	var body struct {
		Message string `json:"message"`
		Reason  string `json:"reason"`
	}
	decoded := json.Unmarshal(data, &body) == nil
	switch {
	case decoded && body.Reason != "":
		apiErr.Message = body.Reason
	case decoded:
		apiErr.Message = strings.TrimSpace(body.Message)
	case resp.StatusCode < http.StatusInternalServerError &&
		resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden:
		return fmt.Errorf("%w: %w", ErrNotJupyter, apiErr)
	}
	return apiErr
}
