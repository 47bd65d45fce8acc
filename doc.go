// Package seer turns a declaration into a running agent environment. A
// [SandboxConfig] says what an agent needs: GPU, models, packages, repos,
// files, secrets. [NewSandbox] and its Start provision that, on Modal or on
// this machine, cache what is slow, and hand back a [Sandbox] that a Go
// program drives.
//
//	config := seer.SandboxConfig{
//		GPU:            "A100",
//		Models:         []seer.ModelConfig{{Name: "google/gemma-2-9b"}},
//		PythonPackages: []string{"torch", "transformers"},
//	}
//	sandbox, err := seer.NewSandbox(config).Start(ctx)
//	if err != nil {
//		return err
//	}
//	defer sandbox.Terminate(context.WithoutCancel(ctx))
//
// # Where sandboxes run
//
// An explicit [WithBackend] wins. Without one the environment decides:
//
//   - SEER_BACKEND=modal: Modal, with the credentials that modal-go finds
//     (MODAL_TOKEN_ID and MODAL_TOKEN_SECRET, else ~/.modal.toml).
//   - SEER_BACKEND=local: isolated processes on this Linux machine. The
//     program must import the local package, by name or as
//     _ "github.com/ajobi-uhc/seer-go/local".
//   - SEER_BACKEND=auto, or nothing: Modal when there are credentials, else
//     local when the program imports it, else [ErrNoBackend].
//
// # Environment variables
//
// Process environment goes before .env, and both only answer what is asked:
// no variable of the program reaches a sandbox unless [SandboxConfig] names it.
//
//   - SEER_BACKEND chooses the backend, as above.
//   - SEER_HOME is where the local backend keeps layers, volumes and
//     snapshots; without it, the user's cache directory.
//   - MODAL_* variables configure the Modal backend only. The local backend
//     never reads them and never calls Modal.
//   - HF_TOKEN and HF_ENDPOINT are used for model downloads: the process
//     environment first, then .env. The token reaches the downloader alone,
//     unless SandboxConfig.Secrets lists it.
//   - Names in SandboxConfig.Secrets and RepoConfig.TokenEnv are looked up in
//     the process environment first, then in the file of [WithEnvFile], or in
//     .env of the working directory if there is one. The file is read and
//     never exported into the process.
package seer
