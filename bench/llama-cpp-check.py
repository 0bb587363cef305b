"""Greedy continuations of llama.cpp, for bench/llama-cpp-check.ts.

usage: python bench/llama-cpp-check.py CASES_JSON

CASES_JSON is a list of {"file": GGUF, "lora": GGUF LoRA or null, "ids": prompt, "tokens": count}. Prints a JSON line for each:
the ids that llama.cpp continues with, its highest logit's lead over the second at each, and its version.
"""

import json
import sys

import llama_cpp
import numpy
from llama_cpp import Llama
from llama_cpp import llama as high_level

defaults = llama_cpp.llama_cpp.llama_model_default_params


def plain_buffers():
    # Repacked weights and AMX end the process on virtual machines that announce AMX without having it.
    params = defaults()
    params.use_extra_bufts = False
    return params


high_level.llama_cpp.llama_model_default_params = plain_buffers

with open(sys.argv[1]) as file:
    cases = json.load(file)
for case in cases:
    # Keys and values in float32, as here. One thread: several wait for each other in loops, slow on a busy machine.
    model = Llama(
        case["file"], lora_path=case["lora"], n_ctx=256, verbose=False, n_threads=1, seed=0, type_k=0, type_v=0
    )
    model.eval(case["ids"])
    ids, leads = [], []
    for _ in range(case["tokens"]):
        last = llama_cpp.llama_get_logits_ith(model.ctx, -1)
        logits = numpy.ctypeslib.as_array(last, shape=(model.n_vocab(),))
        second, first = numpy.sort(logits)[-2:]
        ids.append(int(logits.argmax()))
        leads.append(float(first - second))
        model.eval([ids[-1]])
    print(json.dumps({"ids": ids, "leads": leads, "peer": f"llama-cpp-python {llama_cpp.__version__}"}), flush=True)
    model.close()
