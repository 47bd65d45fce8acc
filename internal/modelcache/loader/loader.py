# Loads the declared models into this interpreter. The table says which
# variables to set from which directories; it holds no model's name.


def _seer_load_models():
    import collections
    import copy
    import json
    import os
    import sys
    from pathlib import Path

    source = os.environ.get("SEER_MODEL_TABLE", "/run/seer/models.json")
    table = json.load(sys.stdin) if source == "-" else json.loads(Path(source).read_text())

    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    release = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    options = {"dtype" if release >= (4, 56) else "torch_dtype": "auto", "local_files_only": True}
    if torch.cuda.is_available():
        options["device_map"] = "auto"

    bases = {}
    users = collections.Counter(entry["path"] for entry in table)

    def base(path):
        """The model in a directory. Those who share it share its tensors, and nothing else."""
        if path not in bases:
            config = transformers.AutoConfig.from_pretrained(path, local_files_only=True)
            names = config.architectures or ["AutoModelForCausalLM"]
            kind = getattr(transformers, names[0], transformers.AutoModelForCausalLM)
            bases[path] = kind.from_pretrained(path, **options).eval()
        if users[path] == 1:
            return bases[path]
        tensors = {id(t): t for group in (bases[path].parameters(), bases[path].buffers()) for t in group}
        return copy.deepcopy(bases[path], tensors)

    def tokenizer(*paths):
        files = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt", "spiece.model")
        for path in paths:
            if path and any((Path(path) / name).exists() for name in files):
                return transformers.AutoTokenizer.from_pretrained(path, local_files_only=True)
        return None

    loaded = {}
    for entry in table:
        model = base(entry["path"])
        if entry["adapter"]:
            import peft

            model = peft.PeftModel.from_pretrained(model, entry["adapter"]).eval()
        elif entry["as_peft"]:
            import peft

            # A fresh LoRA adapter changes nothing: its second matrix is zero.
            task = "CAUSAL_LM" if type(model).__name__.endswith("ForCausalLM") else None
            model = peft.get_peft_model(model, peft.LoraConfig(target_modules="all-linear", task_type=task)).eval()
        loaded[entry["var"]] = model
        loaded[entry["tokenizer_var"]] = tokenizer(entry["adapter"], entry["path"])
    return loaded


globals().update(_seer_load_models())
del _seer_load_models
