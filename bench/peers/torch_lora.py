"""The peer of bench/engine.ts: LoRA training and prefill of the same LLaMA shape with torch + transformers + PEFT.

usage: python torch_lora.py CONFIG.json THREADS ROWS LENGTH STEPS DTYPE   -> one JSON line on stdout
"""

import json
import resource
import sys
import time

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM


def main() -> None:
    path, threads, rows, length, steps, dtype = sys.argv[1:7]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    config = LlamaConfig(**json.load(open(path)))
    model = LlamaForCausalLM(config).to(torch.bfloat16 if dtype == "BF16" else torch.float32)

    tokens = torch.randint(0, config.vocab_size, (int(rows), int(length)))
    prefill = []
    with torch.no_grad():
        for _ in range(3):
            start = time.perf_counter()
            model(input_ids=tokens[:1], logits_to_keep=1)
            prefill.append(time.perf_counter() - start)

    model = get_peft_model(
        model,
        LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, lora_dropout=0.0, target_modules=["q_proj", "v_proj"]),
    )
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-4)
    seconds = []
    for _ in range(int(steps) + 1):  # the first warms up
        start = time.perf_counter()
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)

    median = sorted(seconds[1:])[len(seconds[1:]) // 2]
    print(
        json.dumps(
            {
                "peer": f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}",
                "dtype": dtype,
                "threads": torch.get_num_threads(),
                "trainTokensPerSecond": tokens.numel() / median,
                "prefillTokensPerSecond": int(length) / sorted(prefill)[1],
                "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        )
    )


main()
