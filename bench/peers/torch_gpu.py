"""torch + PEFT on a GPU, on the same packed tokens as native/bench/gpu_bench.cpp: prints JSON.

LLaMA of the 7B shape with random weights, LoRA on q and v (r 8), 2,048 tokens a step in four rows of 512 that attend to
themselves only. Measured twice: as PEFT's documentation sets training up (SDPA, gradient checkpointing) and at the best
setting (no checkpointing, torch.compile). bf16, and NF4 where bitsandbytes is installed. Without PEFT the same LoRA is made
of plain torch modules. What is finished is said on standard error at once; --out FILE holds the JSON of it at any time.
"""

import argparse
import contextlib
import functools
import gc
import importlib
import json
import os
import sys
import time

import torch

ROWS, LENGTH, RANK, ALPHA = 4, 512, 8, 16
TARGETS = ["q_proj", "v_proj"]


@functools.cache
def problem_of(package: str) -> str | None:
    """Why it cannot be used."""
    try:
        importlib.import_module(package)
        return None
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        return f"{package} is not installed" if missing else repr(error)[:300]


class Lora(torch.nn.Module):
    """PEFT's LoRA without PEFT: float32 adapters beside a frozen linear."""

    def __init__(self, linear: torch.nn.Linear):
        super().__init__()
        self.linear = linear
        device = linear.weight.device
        self.a = torch.nn.Linear(linear.in_features, RANK, bias=False, device=device)
        self.b = torch.nn.Linear(RANK, linear.out_features, bias=False, device=device)
        torch.nn.init.zeros_(self.b.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + self.b(self.a(x.to(self.a.weight.dtype))) * (ALPHA / RANK)


def with_adapters(model: torch.nn.Module) -> torch.nn.Module:
    if problem_of("peft") is None:
        from peft import LoraConfig, get_peft_model

        return get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=TARGETS))
    model.requires_grad_(False)
    for layer in model.model.layers:
        for name in TARGETS:
            setattr(layer.self_attn, name, Lora(getattr(layer.self_attn, name)))
    return model


def base(layers: int) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=layers, num_attention_heads=32,
        max_position_embeddings=4096, attn_implementation="sdpa",
    )
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            return LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)


def quantized(model: torch.nn.Module) -> torch.nn.Module:
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
        "peak_reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
    }


def train(layers: int, nf4: bool, checkpointing: bool, compiled: bool, steps: int) -> dict:
    model = base(layers)
    if nf4:
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(quantized(model), use_gradient_checkpointing=checkpointing)
    elif checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    return measure(with_adapters(model), compiled, steps)


def trained(layers: int, nf4: bool, checkpointing: bool, compiled: bool, steps: int) -> dict:
    """Whatever goes wrong takes only its own numbers along."""
    for name in ("bitsandbytes", "peft") if nf4 else ():
        if problem := problem_of(name):
            return {"skipped": problem}
    # What the one before has left, an error's frames included.
    gc.collect()
    with contextlib.suppress(Exception):
        torch.compiler.reset()
    torch.cuda.empty_cache()
    try:
        return train(layers, nf4, checkpointing, compiled, steps)
    except Exception as error:
        return {"failed": repr(error)[:300]}


def write(result: dict, path: str | None) -> None:
    if path is None:
        return
    with open(f"{path}.new", "w") as file:
        json.dump(result, file)
        file.write("\n")
    os.replace(f"{path}.new", path)


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--only")
    parser.add_argument("--out")
    options, _ = parser.parse_known_args()  # the others are gpu_bench's
    if not torch.cuda.is_available():
        result = {"skipped": f"torch {torch.__version__} finds no GPU"}
    elif problem := problem_of("transformers"):
        result = {"skipped": problem}
    else:
        problem = problem_of("peft")
        result = {
            "card": torch.cuda.get_device_name(0),
            "torch": torch.__version__,
            "adapters": f"plain torch modules: {problem}" if problem else "peft",
        }
        # Compiling takes longest, so it comes last.
        for setting, checkpointing, compiled in (("documented", True, False), ("best", False, True)):
            for name, nf4 in (("bf16", False), ("nf4", True)):
                if options.only not in (None, name):
                    continue
                of_name = result.setdefault(name, {})
                of_name[setting] = {"failed": "not finished"}
                write(result, options.out)
                of_name[setting] = measured = trained(options.layers, nf4, checkpointing, compiled, options.steps)
                print(f"torch {name} {setting} {json.dumps(measured)}", file=sys.stderr, flush=True)
                write(result, options.out)
    write(result, options.out)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
