"""Stands in for transformers: what it loads keeps all that a directory says,
and where it was, as the real one's models do."""

import json
import os

__version__ = "5.0.0"


class utils:
    class logging:
        @staticmethod
        def disable_progress_bar():
            pass


class Loaded:
    @classmethod
    def from_pretrained(cls, path, **options):
        self = cls()
        self.name_or_path, self.options, self.files = path, options, {}
        for name in os.listdir(path):
            if os.path.isfile(os.path.join(path, name)):
                with open(os.path.join(path, name), encoding="utf-8", errors="replace") as file:
                    self.files[name] = file.read()
        return self

    def eval(self):
        return self

    def parameters(self):
        return ()

    buffers = parameters


class AutoConfig(Loaded):
    @property
    def architectures(self):
        return json.loads(self.files["config.json"]).get("architectures")


class AutoModelForCausalLM(Loaded):
    pass


class AutoTokenizer(Loaded):
    pass
