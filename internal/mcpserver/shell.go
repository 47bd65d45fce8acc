package mcpserver

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

type commandInput struct {
	Command string `json:"command" jsonschema:"command for bash"`
}

type pathInput struct {
	Path string `json:"path" jsonschema:"path of the file; a relative one starts at the workspace directory"`
}

type listInput struct {
	Path string `json:"path,omitempty" jsonschema:"path of the directory; the workspace directory if left out"`
}

type writeInput struct {
	Path    string `json:"path" jsonschema:"path of the file; a relative one starts at the workspace directory"`
	Content string `json:"content" jsonschema:"the file's whole text"`
}

type uploadInput struct {
	Path   string  `json:"path" jsonschema:"path of the file or directory to write"`
	Data   *string `json:"data,omitempty" jsonschema:"the file's content in base64, which may be empty; or leave it out and give source"`
	Source string  `json:"source,omitempty" jsonschema:"file or directory to copy, relative to the directory that this session uploads from"`
}

func (s *Server) python(p Python) {
	tool(s, "run_python", "Run Python code. Variables stay for later calls. Returns what the code prints, the value of its last expression, and images.", destroys,
		func(ctx context.Context, in codeInput, output func(string)) (Outcome, error) {
			return p.RunPython(ctx, in.Code, output)
		})
	s.control(p, "Python interpreter")
}

func (s *Server) shell(sh Shell) {
	tool(s, "run_command", "Run a command with bash in the workspace directory. Returns what it prints.", destroys,
		func(ctx context.Context, in commandInput, output func(string)) (Outcome, error) {
			return sh.RunCommand(ctx, in.Command, output)
		})
}

func (s *Server) files(f Files) {
	tool(s, "read_file", "Read a text file.", reads,
		func(ctx context.Context, in pathInput, _ func(string)) (Outcome, error) {
			data, err := f.ReadFile(ctx, in.Path)
			if err == nil && !utf8.Valid(data) {
				err = fmt.Errorf("read %s: not a text file (%d bytes)", in.Path, len(data))
			}
			return said(err, "%s", data)
		})
	tool(s, "write_file", "Write a text file, with its parent directories. Replaces one that is there.", destroys,
		func(ctx context.Context, in writeInput, _ func(string)) (Outcome, error) {
			return said(f.WriteFile(ctx, in.Path, []byte(in.Content)), "Wrote %d bytes.", len(in.Content))
		})
	tool(s, "list_files", "List a directory: a size or \"dir\", and the name, a line each.", reads,
		func(ctx context.Context, in listInput, _ func(string)) (Outcome, error) {
			return list(ctx, f, in.Path)
		})
	tool(s, "upload_file", "Store binary data, or copy a file or directory from where this server runs.", destroys,
		func(ctx context.Context, in uploadInput, _ func(string)) (Outcome, error) {
			return upload(ctx, f, in)
		})
}

func list(ctx context.Context, f Files, dir string) (Outcome, error) {
	if dir == "" {
		dir = "."
	}
	entries, err := f.ListFiles(ctx, dir)
	if err != nil {
		return Outcome{}, err
	}
	if len(entries) == 0 {
		return Outcome{Text: "(empty)"}, nil
	}
	var b strings.Builder
	for _, e := range entries {
		size := "dir"
		if !e.IsDir() {
			size = fmt.Sprint(e.Size())
		}
		fmt.Fprintf(&b, "%10s  %s\n", size, e.Name())
	}
	return Outcome{Text: b.String()}, nil
}

func upload(ctx context.Context, f Files, in uploadInput) (Outcome, error) {
	switch {
	case in.Data == nil && in.Source == "":
		return Outcome{}, errors.New("upload: give data or source")
	case in.Data != nil && *in.Data != "" && in.Source != "":
		return Outcome{}, errors.New("upload: give either data or source")
	case in.Source != "":
		return said(f.Upload(ctx, in.Source, in.Path), "Uploaded.")
	}
	data, err := base64.StdEncoding.DecodeString(*in.Data)
	if err != nil {
		return Outcome{}, fmt.Errorf("upload: data is not base64: %w", err)
	}
	return said(f.WriteFile(ctx, in.Path, data), "Wrote %d bytes.", len(data))
}
