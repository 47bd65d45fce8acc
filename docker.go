package seer

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var (
	//go:embed scripts/dockerd.sh
	dockerdScript string
	//go:embed scripts/container.sh
	containerScript string
)

// startDocker starts the Docker daemon, within WaitTimeout.
func (l *launch) startDocker(ctx context.Context, _ func(string)) (string, error) {
	patience := l.config.withDefaults().WaitTimeout
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := l.command("bash", "-c", dockerdScript, "dockerd", "/run/seer/docker").Output(limited)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return "", &TimeoutError{Op: "start Docker", After: patience, Err: err}
	}
	return "", err
}

// startContainer builds the Dockerfile of repository i and runs it. It shares
// the sandbox's network and sees the clone under the same path.
func (l *launch) startContainer(ctx context.Context, log func(string), i int) (string, error) {
	repo := l.plan.Repos[i]
	name := containerName(repo.Name, i)
	lines := &lineWriter{emit: log}
	cmd := l.command("bash", "-c", containerScript, "container", repo.Target, repo.Dockerfile, name)
	cmd.Stdout, cmd.Stderr = lines, lines
	err := cmd.Run(ctx)
	lines.flush()
	return name, err
}

var notInContainerNames = regexp.MustCompile(`[^a-z0-9]+`)

// containerName is the name of the image and of the container of repository i.
func containerName(repo string, i int) string {
	name := notInContainerNames.ReplaceAllString(strings.ToLower(repo), "-")
	return strings.TrimRight(fmt.Sprintf("seer-%d-%s", i+1, strings.TrimLeft(name, "-")), "-")
}
