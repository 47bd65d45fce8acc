package plan

import _ "embed"

//go:embed vscode.sh
var vscodeScript string

// VS Code for the browser, and the Node.js that it asks for.
const (
	vscodeHome        = "/opt/seer/vscode"
	codeServerVersion = "4.139.1"
	nodeVersion       = "24.19.0"
)

// vscodePackages build the parts of it that come as source.
func vscodePackages() []string { return []string{"ca-certificates", "g++", "make"} }

func vscodeLayer() Layer {
	return Layer{"VS Code", []string{run("/bin/sh", "-c", vscodeScript, "vscode", vscodeHome, codeServerVersion, nodeVersion)}}
}

// VSCodeCommand runs what the layer of VS Code has installed.
func VSCodeCommand() []string {
	return []string{vscodeHome + "/bin/node", vscodeHome + "/code-server/out/node/entry.js"}
}
