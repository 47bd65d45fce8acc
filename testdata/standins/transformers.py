"""As much of transformers as the loading of models asks for."""

import json
import types
from pathlib import Path

__version__ = "5.0.0"
utils = types.SimpleNamespace(logging=types.SimpleNamespace(disable_progress_bar=lambda: None))


class AutoConfig:
    @staticmethod
    def from_pretrained(path, local_files_only):
        return types.SimpleNamespace(**{"architectures": None} | json.loads(Path(path, "config.json").read_text()))


class AutoModelForCausalLM:
    @classmethod
    def from_pretrained(cls, path, dtype, local_files_only):
        model = cls()
        model.path, model.weights = path, Path(path, "model.safetensors").read_bytes()
        return model

    def eval(self):
        return self
