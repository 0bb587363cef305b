"""Greedy continuations of transformers in float32, for bench/llama-cpp-check.ts.

usage: python bench/transformers-greedy.py CASES_JSON

CASES_JSON is a list of {"folder": Hugging Face folder, "ids": prompt, "tokens": count, "rounded": bool}. Prints a JSON line for each: the
ids. "rounded": what goes into every matrix is rounded as llama.cpp does before it multiplies by blocks (ggml's Q8_0: 32 numbers
share a float16 scale, the largest of them over 127).
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM


def rounded(x):
    blocks = x.reshape(-1, 32)
    scale = blocks.abs().amax(1, keepdim=True) / 127
    codes = torch.where(scale > 0, blocks / scale, 0).round()
    return (codes * scale.half().float()).reshape(x.shape)


with open(sys.argv[1]) as file:
    cases = json.load(file)
loaded = None
for case in cases:
    key = (case["folder"], case["rounded"])
    if loaded != key:
        model = AutoModelForCausalLM.from_pretrained(case["folder"], dtype=torch.float32).eval()
        loaded = key
        if case["rounded"]:
            for module in model.modules():
                if isinstance(module, torch.nn.Linear):
                    module.register_forward_pre_hook(lambda _, inputs: (rounded(inputs[0]),))
    ids, cache, tokens = [], None, case["ids"]
    with torch.no_grad():
        for _ in range(case["tokens"]):
            result = model(torch.tensor([tokens]), past_key_values=cache, use_cache=True)
            cache = result.past_key_values
            tokens = [int(result.logits[0, -1].argmax())]
            ids += tokens
    print(json.dumps({"ids": ids}), flush=True)
