package seer_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	seer "github.com/ajobi-uhc/seer-go"
	"github.com/ajobi-uhc/seer-go/local"
)

// leavingMark makes this test program one that has a session of each kind and
// ends none. What they start has the variable's value in its environment.
const (
	leavingMark   = "SEER_TEST_LEAVING_MARK"
	leavingPython = "SEER_TEST_LEAVING_PYTHON" // which has Jupyter
	leavingDir    = "SEER_TEST_LEAVING_DIR"
)

// leavings are the kinds of sessions, each with a variable of what it starts.
var leavings = map[string]func(env map[string]string) (seer.Session, error){
	"local": func(env map[string]string) (seer.Session, error) {
		return seer.NewLocalSession(context.Background(), nil, filepath.Join(os.Getenv(leavingDir), "local"), &seer.LocalOptions{Env: env})
	},
	"isolated": func(env map[string]string) (seer.Session, error) {
		return seer.NewLocalSession(context.Background(), nil, filepath.Join(os.Getenv(leavingDir), "isolated"), &seer.LocalOptions{Env: env, Isolated: true})
	},
	"notebook": func(env map[string]string) (seer.Session, error) {
		return seer.NewLocalNotebookSession(context.Background(), nil, &seer.LocalNotebookOptions{
			NotebookOptions: seer.NotebookOptions{OutputDir: os.Getenv(leavingDir)},
			Dir:             filepath.Join(os.Getenv(leavingDir), "notebook"), Python: os.Getenv(leavingPython), Env: env,
		})
	},
	"CLI": func(env map[string]string) (seer.Session, error) {
		sandbox, err := seer.NewSandbox(seer.SandboxConfig{Env: env}, seer.WithBackend(local.New())).Start(context.Background())
		if err != nil {
			return nil, err
		}
		return seer.NewCLISession(context.Background(), sandbox, nil, nil)
	},
}

// leavingCode starts what leaves its session, and what leaves its parent too.
const leavingCode = `
import os, subprocess
subprocess.Popen(["sleep", "1000"])
subprocess.Popen(["sh", "-c", "sleep 1000 & sleep 1000"], start_new_session=True)
subprocess.run(["sh", "-c", "trap '' HUP TERM; sleep 1000 >/dev/null 2>&1 &"], start_new_session=True)
`

// busyCode lets no other thread of the interpreter run.
const busyCode = "sum(range(10 ** 13))"

func leave(mark string) {
	for kind, open := range leavings {
		session, err := open(map[string]string{"SEER_TEST_KIND": mark + kind})
		if err == nil {
			_, err = session.Exec(context.Background(), leavingCode)
		}
		if err != nil {
			fmt.Println(kind, err)
			return
		}
		_ = session.MCPConfig() // which opens its server
		go func() { _, _ = session.Exec(context.Background(), busyCode) }()
	}
	fmt.Println("ready")
	select {}
}
