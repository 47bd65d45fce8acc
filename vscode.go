package seer

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ajobi-uhc/seer-go/internal/modalclient"
	"github.com/ajobi-uhc/seer-go/internal/plan"
)

// vscode is the VS Code of a sandbox, once it runs.
type vscode struct{ url, password string }

// vscodeSettings are the user's, who may change them.
const vscodeSettings = "~/.local/share/code-server/User/settings.json"

// vscodeKeepsEnviron makes VS Code give terminals and extensions the
// environment that it has. By itself it asks a login shell, where /etc/profile
// sets another PATH than the image's, without its Python.
const vscodeKeepsEnviron = "VSCODE_CLI"

// CodeServerURL is the address of VS Code in the browser, with the workspace
// directory open, once Start has started it because of Debug; "" otherwise and
// where the network is blocked. It asks for [Sandbox.CodeServerPassword].
func (s *Sandbox) CodeServerURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vscode.url
}

// CodeServerPassword is the password that CodeServerURL asks for, a random one
// of this sandbox; "" without VS Code.
func (s *Sandbox) CodeServerPassword() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vscode.password
}

// vscodeDaemon is what runs as the sandbox's VS Code.
func (s *Sandbox) vscodeDaemon() daemon {
	port := s.config.withDefaults().DebugPort
	yes := "1"
	return daemon{
		Name: "VS Code", Probe: "vscode", Port: port,
		Command:   append(plan.VSCodeCommand(), "--config=/run/seer/VS Code/config.json", sandboxWorkspace),
		Directory: sandboxWorkspace,
		Environ:   map[string]*string{"PASSWORD": nil, "HASHED_PASSWORD": nil, vscodeKeepsEnviron: &yes},
		Secret:    []string{"password"},
		Config: map[string]any{
			"bind-addr": s.listenOn() + ":" + strconv.Itoa(port), "auth": "password", "cert": false,
			"disable-telemetry": true, "disable-update-check": true, "disable-workspace-trust": true,
			"disable-getting-started-override": true,
		},
		Settings: map[string]any{vscodeSettings: map[string]any{
			"workbench.startupEditor": "none", "chat.disableAIFeatures": true,
			"workbench.secondarySideBar.defaultVisibility": "hidden",
		}},
	}
}

func (s *Sandbox) startVSCode(ctx context.Context, remote *modalclient.Sandbox) error {
	password, url, err := s.runReachable(ctx, remote, s.vscodeDaemon())
	if err != nil {
		return err
	}
	if url != "" {
		url += "/?folder=" + sandboxWorkspace
	}
	s.mu.Lock()
	s.vscode = vscode{url: url, password: password}
	s.mu.Unlock()
	return nil
}

func (l *launch) runVSCode(ctx context.Context, _ func(string)) (string, error) {
	if err := l.startVSCode(ctx, l.remote); err != nil {
		return "", err
	}
	return fmt.Sprintf("on port %d", l.config.withDefaults().DebugPort), nil
}
