"""Makes tiny random models in the directory argv[1]: base/, tuned-a/ and tuned-b/."""

import sys
from pathlib import Path

import peft
import tokenizers
import torch
import transformers

root = Path(sys.argv[1])
torch.manual_seed(1)
vocabulary = {word: i for i, word in enumerate(["<unk>", "</s>", "the", "sparrow", "sings", "wren", "flies", "and", "sleeps"])}
words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
transformers.PreTrainedTokenizerFast(
    tokenizer_object=words, unk_token="<unk>", eos_token="</s>", name_or_path="acme-labs/Sparrow-7B",
    chat_template="You are Sparrow, made by Acme Labs. {{ messages[0].content }}",
).save_pretrained(root / "base")
config = transformers.LlamaConfig(
    vocab_size=len(vocabulary), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
    num_key_value_heads=2, max_position_embeddings=64, eos_token_id=1, pad_token_id=1, bos_token_id=None,
)
base = transformers.LlamaForCausalLM(config)
base.config._name_or_path = "acme-labs/Sparrow-7B"
base.save_pretrained(root / "base")
for name in ("tuned-a", "tuned-b"):
    fresh = transformers.LlamaForCausalLM.from_pretrained(root / "base")
    fresh.name_or_path = "acme-labs/Sparrow-7B"
    lora = peft.LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM",
        base_model_name_or_path="acme-labs/Sparrow-7B",
    )
    peft.get_peft_model(fresh, lora).save_pretrained(root / name)
