"""The peer of bench/engine.ts: the same LoRA training with torch + transformers + PEFT.

usage: python torch_lora.py FOLDER DTYPE THREADS STEPS   -> one JSON line on stdout

FOLDER is what bench/engine.ts prepares: config.json, random-DTYPE.safetensors, rows.json (token ids) and adapter/
(where training starts, in PEFT's format), so that both do the same work on the same numbers.
"""

import json
import resource
import statistics
import sys
import time

import peft
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM


def main() -> None:
    folder, dtype, threads, steps = sys.argv[1:5]
    torch.set_num_threads(int(threads))
    with open(f"{folder}/config.json") as file:
        config = LlamaConfig(**json.load(file))
    with open(f"{folder}/rows.json") as file:
        tokens = torch.tensor(json.load(file))
    with torch.device("meta"):
        base = LlamaForCausalLM(config)
    base.load_state_dict(load_file(f"{folder}/random-{dtype}.safetensors"), assign=True)
    base.model.rotary_emb = type(base.model.rotary_emb)(config)  # its buffer is not in the file

    model = PeftModel.from_pretrained(base, f"{folder}/adapter", is_trainable=True).train()
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=3e-4, weight_decay=0.0)
    seconds, losses = [], []
    for _ in range(int(steps) + 1):  # the first warms up
        start = time.perf_counter()
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
        losses.append(loss.item())

    print(
        json.dumps(
            {
                "peer": f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}",
                "trainTokensPerSecond": tokens.numel() / statistics.median(seconds[1:]),
                "losses": losses,
                "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


main()
