"""Is what llama-lora writes what transformers and PEFT make of the same files?

usage: python bench/llama-lora-check.py BASE_FOLDER CASES_JSON

BASE_FOLDER is a Hugging Face checkpoint; CASES_JSON is what bench/llama-lora-check.ts wrote: a list of cases, each the
adapters' folders, their weights, the type and the folder of our result. Prints one JSON line for each:
- linear, cat, svd: the largest difference of a change of weight (B A times its scale) from PEFT's add_weighted_adapter, and
  for linear and cat of a factor; at most 1e-5.
- convert, merge: the largest difference of a logit from the base with the adapters merged by PEFT; at most 1e-4.
"""

import json
import sys

import peft
import torch
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE, LOGIT_TOLERANCE = 1e-5, 1e-4
base_folder, cases_file = sys.argv[1:3]
with open(cases_file) as file:
    cases = json.load(file)
versions = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
failed = False


def logits(model):
    with torch.no_grad():
        return model(torch.arange(3, 103)[None]).logits


for case in cases:
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
    if case["type"] in ("convert", "merge"):
        before = logits(base)
        for folder in case["adapters"]:
            base = PeftModel.from_pretrained(base, folder).merge_and_unload()
        ours = AutoModelForCausalLM.from_pretrained(case["ours"], dtype=torch.float32)
        AutoTokenizer.from_pretrained(case["ours"])
        theirs = logits(base)
        difference = (logits(ours) - theirs).abs().max().item()
        report = {
            "type": case["type"],
            "adapters": len(case["adapters"]),
            "largest_change_by_adapters": (theirs - before).abs().max().item(),
            "largest_logit_difference": difference,
            "peer": versions,
        }
        failed = failed or not difference <= LOGIT_TOLERANCE
        print(json.dumps(report))
        continue
    names = [f"adapter{i}" for i in range(len(case["adapters"]))]
    model = PeftModel.from_pretrained(base, case["adapters"][0], adapter_name=names[0])
    for name, folder in zip(names[1:], case["adapters"][1:]):
        model.load_adapter(folder, adapter_name=name)
    model.add_weighted_adapter(
        names, case["weights"], "theirs", combination_type=case["type"], svd_rank=case.get("rank")
    )
    model.load_adapter(case["ours"], adapter_name="ours")
    change = factor = effect = 0.0
    modules = 0
    for module in model.modules():
        if not hasattr(module, "lora_A") or "theirs" not in module.lora_A:
            continue
        if "ours" not in module.lora_A:
            raise SystemExit("a module is missing in ours")
        modules += 1
        theirs = module.get_delta_weight("theirs")
        change = max(change, (theirs - module.get_delta_weight("ours")).abs().max().item())
        effect = max(effect, theirs.abs().max().item())
        if case["type"] != "svd":
            for half in (module.lora_A, module.lora_B):
                theirs, ours = half["theirs"].weight, half["ours"].weight
                # PEFT leaves a module of a smaller rank as it is, ours has zeros there.
                if theirs.shape == ours.shape:
                    factor = max(factor, (theirs - ours).abs().max().item())
    report = {
        "type": case["type"],
        "rank": case.get("rank"),
        "weights": case["weights"],
        "modules": modules,
        "largest_change": effect,
        "largest_difference_of_a_change": change,
        "largest_difference_of_a_factor": None if case["type"] == "svd" else factor,
        "peer": versions,
    }
    failed = failed or not max(change, factor) <= TOLERANCE
    print(json.dumps(report))
sys.exit(1 if failed else 0)
