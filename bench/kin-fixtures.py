"""Writes test/engine/fixtures/{qwen2,qwen3}: a random model each, a PEFT adapter, and what transformers and PEFT compute of them.

pip: torch transformers peft safetensors (5.24.0, 0.21.2 and torch 2.15 made the committed ones). Everything in float64, but for the
norms, which transformers computes in float32.
"""
import json, os, shutil, sys
import torch, transformers, peft
from safetensors.torch import load_file, save_file

out = sys.argv[1]
models = {
    "qwen2": transformers.Qwen2Config(
        vocab_size=96, hidden_size=48, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
        max_position_embeddings=128, rms_norm_eps=1e-6, tie_word_embeddings=True, rope_theta=1000000.0),
    "qwen3": transformers.Qwen3Config(
        vocab_size=96, hidden_size=36, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=20, max_position_embeddings=128, rms_norm_eps=1e-6, tie_word_embeddings=True, rope_theta=1000000.0),
}
for name, config in models.items():
    folder = os.path.join(out, name)
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(5)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key.endswith(".bias"):
                value.normal_(0, 3)  # as large as Qwen2's are
            elif "norm" in key:
                value.normal_(1, 0.2)
            elif "embed" in key:
                value.normal_(0, 1)
            else:
                value.normal_(0, value.shape[1] ** -0.5)
    model = model.float()
    model.save_pretrained(folder)
    for extra in os.listdir(folder):
        if extra not in ("config.json", "model.safetensors"):
            os.remove(os.path.join(folder, extra))
    model = model.double().eval()
    ids = torch.randint(0, 96, (17,))
    golden = {"ids": ids.tolist()}
    with torch.no_grad():
        golden["logits"] = [round(x, 5) for x in model(ids[None]).logits[0].flatten().tolist()]
        golden["greedy"] = model.generate(ids[None], max_new_tokens=24, do_sample=False, pad_token_id=0)[0, 17:].tolist()
    tuned = peft.get_peft_model(model, peft.LoraConfig(
        r=2, lora_alpha=4, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for key, value in tuned.named_parameters():
            if "lora_" in key:
                value.data = value.data.float().normal_(0, 0.5 if "lora_B" in key else value.shape[1] ** -0.5).double()
    tuned.save_pretrained(os.path.join(folder, "adapter"))
    adapter = os.path.join(folder, "adapter")
    os.remove(os.path.join(adapter, "README.md"))
    saved = load_file(os.path.join(adapter, "adapter_model.safetensors"))
    save_file({key: value.float() for key, value in saved.items()}, os.path.join(adapter, "adapter_model.safetensors"))
    logits = tuned(ids[None]).logits[0]
    golden["adapterLogits"] = [round(x, 5) for x in logits.flatten().tolist()]
    loss = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="sum")
    loss.backward()
    golden["loss"] = round(loss.item(), 8)
    gradients = {key.replace(".default", ""): value.grad.float() for key, value in tuned.named_parameters() if value.grad is not None}
    assert set(gradients) == set(saved), set(gradients) ^ set(saved)
    save_file(gradients, os.path.join(folder, "gradients.safetensors"))
    with open(os.path.join(folder, "golden.json"), "w") as file:
        json.dump(golden, file)
