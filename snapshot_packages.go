package seer

import (
	"context"
	_ "embed"
	"encoding/json"
	"regexp"
	"slices"
	"time"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
)

//go:embed python/installed.py
var installedScript string

// installedTimeout bounds the question what is installed: a snapshot is worth
// more than the answer.
const installedTimeout = 20 * time.Second

// installed is what a sandbox has installed, in its versions.
type installed struct {
	Python []string `json:"python"`
	System []string `json:"system"`
}

// installed asks the sandbox. One that cannot tell, for want of Python, is
// saved all the same.
func (s *Sandbox) installed(ctx context.Context, remote *modalclient.Sandbox) installed {
	ctx, cancel := context.WithTimeout(ctx, installedTimeout)
	defer cancel()
	// Neither -B nor -I writes or reads anything of the agent's.
	cmd := s.Command("python", append([]string{"-I", "-B", "-c", installedScript}, s.config.SystemPackages...)...)
	cmd.remote = remote
	var found installed
	out, err := cmd.Output(ctx)
	if err == nil {
		err = json.Unmarshal(out, &found)
	}
	if err != nil {
		s.opts.logger.DebugContext(ctx, "the snapshot does not say what is installed", "sandbox", remote.ID(), "error", err)
		return installed{}
	}
	found.Python = matching(found.Python, pythonPackage)
	found.System = matching(found.System, systemPackage)
	return found
}

// What a sandbox calls its packages is shown to people and asked of installers:
// what cannot be a name and a version, as Python's and Debian's rules have
// them, is dropped.
var (
	pythonPackage = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*$`)
	systemPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+=[A-Za-z0-9][A-Za-z0-9.+:~-]*$`)
)

func matching(packages []string, rule *regexp.Regexp) []string {
	return slices.DeleteFunc(packages, func(p string) bool { return !rule.MatchString(p) })
}
