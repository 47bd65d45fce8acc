"""Starts a sandbox for each of the declarations that seer's own golden files
have, with Modal's Python client. Each has an app of its name.

usage: wire.py FILE (any local file)
"""

import sys

import modal

slim = modal.Image.debian_slim(python_version="3.11")


def declarations():
    yield "zero", {}
    yield "gpu", {"gpu": "A100-80GB:2", "cpu": 4, "memory": 32 << 10, "region": "us-east"}
    yield "packages", {
        "image": modal.Image.debian_slim(python_version="3.12")
        .apt_install("jq", "ffmpeg=7:5.1.6-0")
        .pip_install("torch>=2.4", "transformers[torch]; python_version<'4'")
        .run_commands("""echo "it's $HOME\""""),
    }
    yield "network", {"outbound_cidr_allowlist": ["203.0.113.0/24"], "encrypted_ports": [9000, 7777]}
    yield "blocked", {"block_network": True}
    yield "lifetime", {"timeout": 90 * 60, "idle_timeout": 10 * 60, "tags": {"team": "red"}, "name": "lifetime"}
    yield "environment", {"env": {"A": "1"}, "secrets": [modal.Secret.from_dict({"SEER_TEST_WIRE_SECRET": "hidden"})]}
    yield "models", {"volumes": {"/models": modal.Volume.from_name("models", create_if_missing=True, version=2).with_mount_options(read_only=True)}}
    yield "files", {"image": slim.add_local_file(sys.argv[1], "/workspace/file", copy=True)}
    yield "repo", {"image": slim.apt_install("git"), "then": [
        ["git", "clone", "-b", "dev", "https://github.com/org/repo", "/workspace/repo"],
        ["bash", "-c", "cd /workspace/repo && pip install -e ."],
    ]}
    docker = {"image": slim.apt_install("docker.io"), "experimental_options": {"enable_docker": True}}
    yield "docker", {**docker, "then": [["dockerd"]]}
    yield "dockerfile", {**docker, "image": slim.apt_install("git", "docker.io"), "then": [
        ["git", "clone", "https://example.com/Org/A_--Repo.x", "/workspace/A_--Repo.x"],
        ["bash", "-c", "cd /workspace/A_--Repo.x && make"],
        ["dockerd"],
        ["docker", "build", "-t", "repo", "-f", "/workspace/A_--Repo.x/docker/$(id) file", "/workspace/A_--Repo.x"],
        ["docker", "run", "-d", "repo"],
    ]}
    yield "notebook", {"image": slim.pip_install("jupyter_server", "ipykernel"), "encrypted_ports": [8888], "env": {"GREETING": "hello"}, "then": [
        ["jupyter", "server", "--ip=0.0.0.0", "--port=8888", "--allow-root", "--no-browser", "--IdentityProvider.token=secret"],
    ]}
    yield "debug", {
        "image": slim.apt_install("curl").run_commands("curl -fsSL https://code-server.dev/install.sh | sh"),
        "encrypted_ports": [8443],
        "then": [["code-server", "--bind-addr", "0.0.0.0:8443", "--auth", "none", "/workspace"]],
    }


for name, arguments in declarations():
    app = modal.App.lookup(name, create_if_missing=True)
    commands = arguments.pop("then", [])
    sandbox = modal.Sandbox.create(app=app, **{"image": slim, "timeout": 3600, **arguments})
    for command in commands:
        sandbox.exec(*command).wait()
    sandbox.terminate()
