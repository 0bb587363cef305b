"""Does PEFT load our adapter on the same base, and does it give our logits?

usage: python bench/peft-check.py BASE_FOLDER ADAPTER_FOLDER LOGITS_JSON

BASE_FOLDER is a Hugging Face checkpoint, ADAPTER_FOLDER holds our adapter_config.json and adapter_model.safetensors, and
LOGITS_JSON is what bench/peft-check.ts wrote: the token ids and our logits of every position. Prints one JSON line and
exits with 1 when a key is missing or unexpected, or a logit differs by more than 1e-4.
"""

import json
import sys
import warnings

import peft
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import AutoModelForCausalLM

TOLERANCE = 1e-4

base_folder, adapter_folder, logits_file = sys.argv[1:4]
with open(logits_file) as file:
    ours = json.load(file)

base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model = PeftModel.from_pretrained(base, adapter_folder).eval()
with safe_open(f"{adapter_folder}/adapter_model.safetensors", "pt") as tensors:
    written = set(tensors.keys())
loaded = get_peft_model_state_dict(model)
missing, unexpected = sorted(set(loaded) - written), sorted(written - set(loaded))

with open(f"{adapter_folder}/adapter_config.json") as file:
    fields = json.load(file)
config_warnings = [str(w.message) for w in caught if "config" in str(w.message).lower()]
unknown = sorted(set(fields) - set(LoraConfig.__dataclass_fields__))

with torch.no_grad():
    theirs = model(torch.tensor([ours["tokens"]])).logits[0]
    with model.disable_adapter():
        plain = model(torch.tensor([ours["tokens"]])).logits[0]
found = torch.tensor(ours["logits"]).reshape(theirs.shape)
difference = (found - theirs).abs().max().item()
report = {
    "peer": f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}",
    "missing_keys": missing,
    "unexpected_keys": unexpected,
    "unknown_config_fields": unknown,
    "warnings": config_warnings,
    "tensors": len(written),
    "positions": len(ours["tokens"]),
    "largest_logit_difference": difference,
    "largest_change_by_adapter": (theirs - plain).abs().max().item(),
}
print(json.dumps(report))
sys.exit(1 if missing or unexpected or unknown or config_warnings or not difference <= TOLERANCE else 0)
