"""Uses the hub of argv[1] the way programs do, with the token of argv[2]."""

import os
import sys
import tempfile
from pathlib import Path

endpoint, token = sys.argv[1:]
os.environ.update(HF_ENDPOINT=endpoint, HF_HOME=tempfile.mkdtemp(), HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1")
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError, GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError,
)


def fails(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Exception as error:
        assert type(error) is kind or issubclass(type(error), kind), repr(error)
        return
    raise AssertionError(f"no {kind.__name__}")


api = HfApi()
info = api.model_info("acme/open", files_metadata=True)
assert info.id == "acme/open" and len(info.sha) == 40 and info.gated is False, info
sizes = {s.rfilename: (s.size, bool(s.lfs)) for s in info.siblings}
assert sizes == {"config.json": (2, False), "model.safetensors": (300000, True), "a b/c.txt": (1, False)}, sizes
tree = {e.path: type(e).__name__ for e in api.list_repo_tree("acme/open", recursive=True)}
assert tree == {"a b": "RepoFolder", "a b/c.txt": "RepoFile", "config.json": "RepoFile", "model.safetensors": "RepoFile"}, tree
assert [e.path for e in api.list_repo_tree("acme/open", "a b")] == ["a b/c.txt"]
assert api.model_info("acme/open", revision="v1").sha != info.sha
assert api.model_info("acme/gated").gated == "manual"

for options in ({}, {"local_dir": tempfile.mkdtemp()}):
    root = Path(snapshot_download("acme/open", **options))
    assert (root / "model.safetensors").read_bytes() == b"w" * 300000
    assert (root / "a b/c.txt").read_bytes() == b"x"
assert Path(hf_hub_download("acme/open", "config.json", revision="v1")).read_bytes() == b"{1}"
assert Path(hf_hub_download("acme/gated", "model.safetensors", token=token)).read_bytes() == b"secret"
assert Path(hf_hub_download("acme/private", "config.json", token=token)).read_bytes() == b"{}"

fails(GatedRepoError, hf_hub_download, "acme/gated", "model.safetensors", token=False, cache_dir=tempfile.mkdtemp())
fails(RepositoryNotFoundError, api.model_info, "acme/unknown", token=token)
fails(RevisionNotFoundError, api.model_info, "acme/open", revision="v9")
fails(EntryNotFoundError, hf_hub_download, "acme/open", "gone.json")
fails(HfHubHTTPError, api.model_info, "acme/private", token=False)
fails(HfHubHTTPError, api.model_info, "acme/open", token="hf_wrong")
print("ok")
