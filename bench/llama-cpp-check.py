"""Greedy continuations of llama.cpp, for bench/llama-cpp-check.ts.

usage: python bench/llama-cpp-check.py CASES_JSON

CASES_JSON is a list of {"file": GGUF, "lora": GGUF LoRA or null, "ids": prompt, "ours": the continuation of this engine}. Prints a
JSON line for each:

float32: the id that llama.cpp finds likeliest at each place of "ours", all read in one batch. From 32 rows on its BLAS backend
    multiplies in float32 by the numbers that the blocks stand for. These are the greedy continuation up to the first difference.
decoded: the greedy continuation token by token, where what goes into a matrix is rounded first: to 8 bits for blocks, to bfloat16
    or float16 for weights of those types.
leads: of "decoded", the highest logit's lead over the second.
peer: the versions.

llama-cpp-python has to be built with BLAS:
    CMAKE_ARGS="-DGGML_BLAS=ON -DGGML_BLAS_VENDOR=OpenBLAS" pip install --no-binary llama-cpp-python llama-cpp-python
"""

import json
import pathlib
import sys

import llama_cpp
import numpy
from llama_cpp import Llama
from llama_cpp import llama as high_level

if not list((pathlib.Path(llama_cpp.__file__).parent / "lib").glob("*ggml-blas*")):
    sys.exit("llama-cpp-python is built without BLAS; see the head of bench/llama-cpp-check.py")

defaults = llama_cpp.llama_cpp.llama_model_default_params


def plain_buffers():
    # Repacked weights and AMX end the process on virtual machines that announce AMX without having it.
    params = defaults()
    params.use_extra_bufts = False
    return params


high_level.llama_cpp.llama_model_default_params = plain_buffers


def logits(model, place):
    found = llama_cpp.llama_get_logits_ith(model.ctx, place)
    return numpy.ctypeslib.as_array(found, shape=(model.n_vocab(),))


def in_one_batch(model, ids, ours):
    model.eval(ids + ours[:-1])
    return [int(logits(model, place).argmax()) for place in range(len(ids) - 1, len(ids) + len(ours) - 1)]


def decoded(model, ids, count):
    model.reset()
    found, leads = [], []
    tokens = ids
    for _ in range(count):
        model.eval(tokens)
        last = logits(model, -1)
        second, first = numpy.sort(last)[-2:]
        tokens = [int(last.argmax())]
        found += tokens
        leads.append(float(first - second))
    return found, leads


with open(sys.argv[1]) as file:
    cases = json.load(file)
model, loaded = None, None
for case in cases:
    ids, ours = case["ids"], case["ours"]
    assert len(ids) + len(ours) > 32, "BLAS multiplies from 32 rows on"
    key = (case["file"], case["lora"])
    if loaded != key:
        if model is not None:
            model.close()
        # Keys and values in float32, as here. One thread: several wait for each other in loops, slow on a busy machine.
        # All logits, or else the last layer and the head would have a single row.
        model = Llama(
            case["file"],
            lora_path=case["lora"],
            **{"n_ctx": 256, "n_batch": 256, "n_ubatch": 256, "n_threads": 1, "n_threads_batch": 1},
            **{"type_k": 0, "type_v": 0, "flash_attn": False, "logits_all": True, "seed": 0, "verbose": False},
        )
        loaded = key
    model.reset()
    result = {"float32": in_one_batch(model, ids, ours)}
    result["decoded"], result["leads"] = decoded(model, ids, len(ours))
    result["peer"] = f"llama-cpp-python {llama_cpp.__version__}, built with BLAS"
    print(json.dumps(result), flush=True)
