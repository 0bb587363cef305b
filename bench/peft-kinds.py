"""PEFT's logits for adapters of every kind.

usage: python bench/peft-kinds.py FOLDER

FOLDER is what bench/peft-check.ts wrote: base models in FOLDER/bases, adapters in FOLDER/adapters, and kinds.json with each
adapter's base, vocabulary and tokens. Writes FOLDER/logits.json: logits of every position by adapter, in float32, and under
"sum" those of 0.7 times the adapter "plain" and -0.3 times "rslora" (add_weighted_adapter, "cat").
"""

import json
import sys
import warnings

import peft
import torch
import transformers

folder = sys.argv[1]
with open(f"{folder}/kinds.json") as file:
    kinds = json.load(file)
warnings.simplefilter("ignore")


def base_of(kind):
    model = transformers.AutoModelForCausalLM.from_pretrained(f"{folder}/bases/{kind['base']}", dtype=torch.float32)
    if kind["vocab"] != model.config.vocab_size:
        model.resize_token_embeddings(kind["vocab"], mean_resizing=False)
    return model


def logits_of(model, kind):
    with torch.no_grad():
        return model.eval()(torch.tensor([kind["tokens"]])).logits[0].flatten().tolist()


found = {}
for name, kind in kinds.items():
    found[name] = logits_of(peft.PeftModel.from_pretrained(base_of(kind), f"{folder}/adapters/{name}"), kind)
both = peft.PeftModel.from_pretrained(base_of(kinds["plain"]), f"{folder}/adapters/plain", adapter_name="a")
both.load_adapter(f"{folder}/adapters/rslora", adapter_name="b")
both.add_weighted_adapter(["a", "b"], [0.7, -0.3], "sum", combination_type="cat")
both.set_adapter("sum")
found["sum"] = logits_of(both, kinds["plain"])
with open(f"{folder}/logits.json", "w") as file:
    json.dump({"peer": f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}", "logits": found}, file)
