"""torch + PEFT on a GPU, on the same packed tokens as native/bench/gpu_bench.cpp: prints JSON.

LLaMA of the 7B shape with random weights, LoRA on q and v (r 8), 2,048 tokens a step in four rows of 512 that attend to
themselves only. Measured twice: as PEFT's documentation sets training up (SDPA, gradient checkpointing) and at the best
setting (no checkpointing where memory allows, torch.compile). bf16, and NF4 where bitsandbytes is installed.
"""

import argparse
import json
import time

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import LlamaConfig, LlamaForCausalLM

ROWS, LENGTH = 4, 512


def base(layers: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=layers, num_attention_heads=32,
        max_position_embeddings=4096, attn_implementation="sdpa",
    )
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    return model


def quantized(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """The layers' linears as bitsandbytes' NF4 with double quantisation."""
    import bitsandbytes as bnb

    for layer in model.model.layers:
        for block in (layer.self_attn, layer.mlp):
            for name, linear in list(block.named_children()):
                if not isinstance(linear, torch.nn.Linear):
                    continue
                replacement = bnb.nn.Linear4bit(
                    linear.in_features, linear.out_features, bias=False, compute_dtype=torch.bfloat16,
                    quant_type="nf4", compress_statistics=True,
                )
                replacement.weight = bnb.nn.Params4bit(
                    linear.weight.data.cpu(), requires_grad=False, quant_type="nf4", compress_statistics=True
                )
                setattr(block, name, replacement.cuda())
    model.is_loaded_in_4bit = True
    return model


def measure(model, compiled: bool, steps: int) -> dict:
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    tokens = torch.randint(0, 32000, (ROWS, LENGTH), device="cuda")
    step_model = torch.compile(model) if compiled else model
    model.train()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(steps + 3):
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            loss = step_model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    seconds = sorted(times[3:])[steps // 2]
    return {
        "tokens_per_second": ROWS * LENGTH / seconds,
        "peak_memory_gib": torch.cuda.max_memory_allocated() / 2**30,
    }


def trained(layers: int, nf4: bool, checkpointing: bool, compiled: bool, steps: int) -> dict:
    try:
        model = base(layers)
        if nf4:
            model = prepare_model_for_kbit_training(quantized(model), use_gradient_checkpointing=checkpointing)
        elif checkpointing:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
        return measure(model, compiled, steps)
    except (ImportError, torch.cuda.OutOfMemoryError) as error:
        return {"skipped": str(error).splitlines()[0]}
    finally:
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--steps", type=int, default=9)
    options = parser.parse_args()
    result = {"card": torch.cuda.get_device_name(0), "torch": torch.__version__}
    for name, nf4 in (("bf16", False), ("nf4", True)):
        result[name] = {
            "documented": trained(options.layers, nf4, True, False, options.steps),
            "best": trained(options.layers, nf4, False, True, options.steps),
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
