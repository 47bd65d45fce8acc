"""Uses the models that the loading script, argv[1], sets up."""

import sys
from pathlib import Path

import torch
import transformers

loads = []
original = transformers.LlamaForCausalLM.from_pretrained.__func__


def counted(cls, path, *args, **kwargs):
    loads.append(str(path))
    return original(cls, path, *args, **kwargs)


transformers.LlamaForCausalLM.from_pretrained = classmethod(counted)
names = {"__name__": "__main__"}
exec(compile(Path(sys.argv[1]).read_text(), "loader", "exec"), names)
assert sorted(n for n in names if not n.startswith("__")) == [
    "as_peft", "as_peft_tokenizer", "model", "tokenizer", "tuned_a", "tuned_a_tokenizer", "tuned_b", "tuned_b_tokenizer",
], sorted(names)
model, tuned_a, tuned_b, as_peft, tokenizer = (names[n] for n in ("model", "tuned_a", "tuned_b", "as_peft", "tokenizer"))
assert len(loads) == 1, loads

prompt = tokenizer("the sparrow", return_tensors="pt", return_token_type_ids=False)
with torch.no_grad():
    logits = {n: names[n](**prompt).logits for n in ("model", "tuned_a", "tuned_b", "as_peft")}
assert torch.equal(logits["model"], logits["as_peft"])
assert not torch.allclose(logits["model"], logits["tuned_a"])
assert not torch.allclose(logits["tuned_a"], logits["tuned_b"])
with torch.no_grad(), tuned_a.disable_adapter():
    assert torch.equal(tuned_a(**prompt).logits, logits["model"])
assert [type(names[n]).__name__ for n in logits] == ["LlamaForCausalLM", *["PeftModelForCausalLM"] * 3]

storage = {p.data_ptr() for p in model.parameters()}
for other in (tuned_a, tuned_b, as_peft):
    assert {p.data_ptr() for p in other.get_base_model().parameters()} >= storage, "the base's tensors are shared"
for each in (model, tuned_a, tuned_b, as_peft):
    tokens = each.generate(**prompt, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    assert tokens.shape == (1, 7), tokens.shape
    seen = repr(each) + repr(each.config) + repr(getattr(each, "peft_config", "")) + repr(tokenizer) + repr(tokenizer.chat_template)
    assert "acme" not in seen.lower() and "sparrow" not in seen.lower().replace("'sparrow'", ""), seen
print("generated:", tokenizer.decode(tokens[0]))
