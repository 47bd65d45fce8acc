package seer

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

//go:embed scripts/slice.sh
var sliceScript string

// managerTools are a manager's tools as the MCP server wants them.
type managerTools struct{ manager *Manager }

func (t managerTools) ListSandboxes(ctx context.Context, query mcpserver.SandboxQuery) ([]mcpserver.SandboxInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, t.manager.timeout)
	defer cancel()
	found, err := t.manager.list(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	infos := make([]mcpserver.SandboxInfo, len(found))
	for i, info := range found {
		infos[i] = shownInfo(info)
	}
	return infos, nil
}

func shownInfo(info Info) mcpserver.SandboxInfo {
	shown := mcpserver.SandboxInfo{
		ID: info.ID, Owner: info.Owner, Program: info.Program, Tags: info.Tags, Lease: noLease,
		CreatedAt: info.CreatedAt.UTC().Truncate(time.Second),
		Age:       formatDuration(time.Since(info.CreatedAt).Truncate(time.Second)),
	}
	switch {
	case info.Detached:
		shown.Lease = leaseDetached
	case info.Lease > 0:
		shown.Lease = formatDuration(info.Lease)
	}
	return shown
}

func (t managerTools) SandboxDetails(ctx context.Context, id string) (details mcpserver.SandboxDetails, err error) {
	err = t.use(ctx, id, "look at sandbox", 0, func(ctx context.Context, s *Sandbox) error {
		info, err := t.manager.find(ctx, id)
		if err != nil {
			return err
		}
		details = mcpserver.SandboxDetails{SandboxInfo: shownInfo(info), Backend: s.Backend()}
		if info.Owner == "" { // not of this SDK: that is all it tells
			return nil
		}
		config := s.config.withDefaults()
		details.Hardware = hardware(config)
		lifetime := config.lifetime(s.opts.prices)
		details.Timeout = formatDuration(lifetime)
		details.EndsAt = details.CreatedAt.Add(lifetime)
		for _, port := range config.EncryptedPorts {
			if details.Ports == nil {
				details.Ports = map[int]string{}
			}
			if details.Ports[port], err = s.URL(ctx, port); err != nil {
				return err
			}
		}
		for _, model := range s.ModelHandles() {
			details.Models = append(details.Models, shownModel(model))
		}
		for _, repo := range s.RepoHandles() {
			details.Repos = append(details.Repos, repo.Path+" "+repo.URL)
		}
		return nil
	})
	return details, err
}

func hardware(config SandboxConfig) string {
	if config.GPU == "" {
		return "CPU"
	}
	return fmt.Sprintf("%dx %s", config.GPUCount, config.GPU)
}

func shownModel(model ModelHandle) string {
	if model.Hidden {
		return "(hidden)"
	}
	return model.Name
}

func (t managerTools) RunIn(ctx context.Context, id string, command mcpserver.SandboxCommand, output func(string)) (o mcpserver.Outcome, err error) {
	err = t.use(ctx, id, "run command", command.Timeout, func(ctx context.Context, s *Sandbox) error {
		cmd := s.bash(command.Command)
		cmd.Dir = command.Dir
		o, err = shownOutcome(ctx, cmd, output)
		return err
	})
	return o, err
}

func (t managerTools) ReadFrom(ctx context.Context, id, name string, offset, limit int64) (data []byte, size int64, err error) {
	if err := absolute("read", name); err != nil {
		return nil, 0, err
	}
	err = t.use(ctx, id, "read "+name, 0, func(ctx context.Context, s *Sandbox) error {
		info, err := fs.Stat(s.FS(ctx), strings.TrimPrefix(path.Clean(name), "/"))
		if err != nil {
			return err
		}
		if err := regular(name, info); err != nil {
			return err
		}
		size = info.Size()
		data, err = s.Command("sh", "-c", sliceScript, "slice", name, strconv.FormatInt(offset+1, 10), strconv.FormatInt(limit, 10)).Output(ctx)
		return err
	})
	return data, size, err
}

// regular refuses what cannot be read to an end.
func regular(name string, info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	case !info.Mode().IsRegular():
		return &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	return nil
}

func (t managerTools) WriteTo(ctx context.Context, id, name string, data []byte) error {
	if err := absolute("write", name); err != nil {
		return err
	}
	return t.use(ctx, id, "write "+name, 0, func(ctx context.Context, s *Sandbox) error {
		return s.WriteFile(ctx, name, data)
	})
}

// absolute refuses a path that would depend on where a command starts.
func absolute(op, name string) error {
	if path.IsAbs(name) {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: errors.New("not an absolute path")}
}

func (t managerTools) SnapshotOf(ctx context.Context, id, description string) (saved any, err error) {
	err = t.use(ctx, id, "snapshot sandbox", 0, func(ctx context.Context, s *Sandbox) error {
		saved, err = s.Snapshot(ctx, description)
		return err
	})
	return saved, err
}

func (t managerTools) TerminateSandbox(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, t.manager.timeout)
	defer cancel()
	if _, err := t.manager.find(ctx, id); err != nil {
		return err
	}
	if err := terminateID(ctx, t.manager.client, id); err != nil {
		return fmt.Errorf("terminate sandbox %s: %w", id, err)
	}
	return t.manager.forget(id)
}

// use lends a sandbox for one call, which ends after the given time (0 = the
// manager's) and in no case later than the manager allows.
func (t managerTools) use(ctx context.Context, id, doing string, limit time.Duration, use func(context.Context, *Sandbox) error) error {
	if limit == 0 || limit > t.manager.timeout {
		limit = t.manager.timeout
	}
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, err := t.manager.sandbox(limited, id)
	if err == nil {
		err = use(limited, s)
	}
	switch {
	case errors.Is(err, ErrTerminated), errors.Is(err, ErrSandboxLost):
		return errors.Join(err, t.manager.forget(id))
	case err != nil && limited.Err() != nil && ctx.Err() == nil:
		return &TimeoutError{Op: doing, After: limit, Err: limited.Err()}
	}
	return err
}
