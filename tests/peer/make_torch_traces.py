#!/usr/bin/env python3
"""Makes the goldens of tests/goldens/torch_traces: what transformers' Llama and accelerate's hooks really allocate.

    make_torch_traces.py RECORDER CONFIGS OUT [NAME ...]

RECORDER is record_torch_trace.py (needs torch 2.15, transformers 5.23, accelerate 1.15; run this script with their python), CONFIGS a folder with
<model>.json (config.json of public models), OUT the folder to write to. With NAMEs only those goldens are made.

A golden is text: header lines (key and values; the facts our own model is built from), then one event a line, "name bytes" as the recorder
prints them. "* N M" says that the M lines after it occur N times in a row.
"""
import json
import os
import subprocess
import sys
import tempfile

TINY = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 192,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "num_hidden_layers": 3, "vocab_size": 320, "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False, "pad_token_id": 0,
}
SYNTHETIC = {
    "tiny": TINY,
    "tied": TINY | {"num_hidden_layers": 2, "num_key_value_heads": 4, "head_dim": 24, "intermediate_size": 160, "tie_word_embeddings": True},
    "biased": TINY | {"attention_bias": True, "mlp_bias": True, "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 22, "hidden_size": 72},
    "attention-bias": TINY | {"attention_bias": True, "num_key_value_heads": 1},
    "one-layer": TINY | {"num_hidden_layers": 1, "mlp_bias": True, "hidden_size": 100, "num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": 20},
    "uncached": TINY | {"use_cache": False},
    "headless": TINY | {"architectures": ["LlamaModel"], "rope_scaling": {"rope_type": "linear", "factor": 2.0}},
}
# Without a cache and without an attention mask, transformers takes the rows for packed sequences and makes a mask. generate() gives it a mask of
# ones, which it drops again after looking at it; the recorder's tensors cannot be looked at.
UNCACHED = """
import runpy, sys
import transformers.masking_utils
transformers.masking_utils.find_packed_sequence_indices = lambda position_ids: None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# name: model, tokens, then what differs from batch 1, past 0, bfloat16, no offload, no module marks
GOLDENS = {
    "llama-2-7b.prefill": ("llama-2-7b", 512, {}),
    "llama-2-7b.decode": ("llama-2-7b", 1, {"past": 512}),
    "llama-2-70b.prefill": ("llama-2-70b", 512, {}),
    "llama-2-70b.decode.sequential": ("llama-2-70b", 1, {"past": 512, "offload": "sequential"}),
    "llama-3.1-8b.prefill": ("llama-3.1-8b", 512, {}),
    "llama-3.1-8b.prefill.batch2": ("llama-3.1-8b", 512, {"batch": 2}),
    "llama-3.1-8b.prefill.fp32": ("llama-3.1-8b", 512, {"dtype": "float32"}),
    "llama-3.1-8b.decode": ("llama-3.1-8b", 1, {"past": 512}),
    "llama-3.1-8b.decode.past1": ("llama-3.1-8b", 1, {"past": 1, "dtype": "float16"}),
    "llama-3.1-8b.prefill.sequential": ("llama-3.1-8b", 512, {"offload": "sequential"}),
    "llama-3.1-8b.decode.sequential": ("llama-3.1-8b", 1, {"past": 512, "offload": "sequential"}),
    "llama-3.2-1b.prefill.sequential": ("llama-3.2-1b", 512, {"offload": "sequential"}),
    "llama-3.2-1b.decode.sequential": ("llama-3.2-1b", 1, {"past": 512, "offload": "sequential"}),
    "llama-3.2-3b.prefill": ("llama-3.2-3b", 512, {}),
    "tiny.prefill.modules": ("tiny", 32, {"modules": True}),
    "tiny.decode.sequential.modules": ("tiny", 1, {"past": 31, "offload": "sequential", "modules": True}),
    "tied.decode.modules": ("tied", 1, {"past": 3, "modules": True}),
    "tiny.decode.fp32": ("tiny", 1, {"past": 7, "dtype": "float32", "batch": 3}),
    "tied.prefill.sequential.fp32": ("tied", 33, {"offload": "sequential", "dtype": "float32"}),
    "tied.prefill.one-token": ("tied", 1, {"dtype": "float16"}),
    "biased.prefill.batch3": ("biased", 17, {"batch": 3}),
    "biased.decode.sequential": ("biased", 1, {"past": 5, "batch": 2, "offload": "sequential"}),
    "biased.prefill.one-token.sequential": ("biased", 1, {"offload": "sequential"}),
    "attention-bias.decode": ("attention-bias", 1, {"past": 9}),
    "one-layer.prefill.sequential": ("one-layer", 8, {"offload": "sequential"}),
    "uncached.prefill.modules": ("uncached", 32, {"no-cache": True, "modules": True}),
    "uncached.prefill.sequential": ("uncached", 17, {"no-cache": True, "batch": 2, "offload": "sequential"}),
    "headless.prefill": ("headless", 12, {"modules": True}),
    "headless.decode.sequential": ("headless", 1, {"past": 12, "offload": "sequential"}),
    # accelerate's dispatch_model: these modules on "cpu", all else on GPU 0
    "llama-3.1-8b.prefill.dispatch": ("llama-3.1-8b", 512, {"offloaded": [f"model.layers.{i}" for i in range(28, 32)] + ["lm_head"]}),
    "llama-3.1-8b.decode.dispatch": ("llama-3.1-8b", 1, {"past": 512, "offloaded": [f"model.layers.{i}" for i in range(28, 32)] + ["lm_head"]}),
    "tiny.prefill.dispatch.modules": ("tiny", 8, {"modules": True, "offloaded": ["model.layers.1", "lm_head"]}),
    "tiny.decode.dispatch.modules": ("tiny", 1, {"past": 31, "modules": True, "offloaded": ["model.layers.0.mlp", "model.layers.2", "model.norm"]}),
    "tied.prefill.dispatch.fp32": ("tied", 33, {"dtype": "float32", "offloaded": ["model.embed_tokens", "model.layers.1.self_attn", "lm_head"]}),
    "tied.decode.dispatch": ("tied", 1, {"past": 3, "offloaded": ["model.layers.0", "model.norm"]}),
    "biased.decode.dispatch": ("biased", 1, {"past": 5, "batch": 2, "offloaded": ["model.layers.1", "model.layers.2.self_attn.q_proj"]}),
}


def packed(lines, longest=400):
    """Runs of equal blocks become one block with a count, the run that saves the most lines first met."""
    out, at = [], 0
    while at < len(lines):
        best = (0, 0, 0)
        for period in range(1, min(longest, (len(lines) - at) // 2) + 1):
            times = 1
            while lines[at + times * period : at + (times + 1) * period] == lines[at : at + period]:
                times += 1
            best = max(best, ((times - 1) * period - 1, times, period))
        if best[0] > 1:
            _, times, period = best
            out += [f"* {times} {period}", *lines[at : at + period]]
            at += times * period
        else:
            out.append(lines[at])
            at += 1
    return out


def header(config, trace, request):
    heads = config["num_attention_heads"]
    facts = {
        "class": config["architectures"][0], "layers": config["num_hidden_layers"], "hidden": config["hidden_size"],
        "intermediate": config["intermediate_size"], "heads": heads, "kv_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or config["hidden_size"] // heads, "vocab": config["vocab_size"],
        "tied": int(config.get("tie_word_embeddings", False)), "attention_bias": int(config.get("attention_bias", False)),
        "mlp_bias": int(config.get("mlp_bias", False)),
    }
    facts |= {key: request[key] for key in ("dtype", "batch", "tokens", "past", "offload")} | {"modules": int(request["modules"])}
    if not config.get("use_cache", True):
        facts["cached"] = 0
    facts |= {key: trace[key] for key in ("parameters_bytes", "kept_bytes", "peak_live_bytes", "peak_rounded_bytes")}
    versions = " ".join(f"{name} {version}" for name, version in trace["versions"].items())
    if "offloaded" in request:
        facts["offloaded"] = ",".join(request["offloaded"])
    return [f"# recorded with {versions}", *(f"{key} {value}" for key, value in facts.items()), f"events {len(trace['events'])}"]


def device_map(config, offloaded):
    """Every module that has to be named so that `offloaded` is on the cpu and all else on GPU 0."""
    layers = config["num_hidden_layers"]
    inner = {"self_attn": ["q_proj", "k_proj", "v_proj", "o_proj"], "mlp": ["gate_proj", "up_proj", "down_proj", "act_fn"],
             "input_layernorm": [], "post_attention_layernorm": []}
    tree = {"": ["model", "lm_head"], "model": ["embed_tokens", "layers", "norm", "rotary_emb"], "model.layers": [str(i) for i in range(layers)]}
    for i in range(layers):
        tree[f"model.layers.{i}"] = list(inner)
        tree |= {f"model.layers.{i}.{name}": children for name, children in inner.items()}
    out = {}

    def walk(name):
        if name in offloaded or not any(o.startswith(name + "." if name else "") for o in offloaded):
            out[name] = "cpu" if name in offloaded else 0
            return
        for child in tree[name]:
            walk(f"{name}.{child}" if name else child)

    walk("")
    return out


def make(recorder, configs, out, name):
    model, tokens, changes = GOLDENS[name]
    config = SYNTHETIC.get(model) or json.load(open(os.path.join(configs, model + ".json")))
    changes = dict(changes)
    offloaded = changes.pop("offloaded", None)
    with tempfile.TemporaryDirectory() as folder:
        json.dump(config, open(os.path.join(folder, "config.json"), "w"))
        program = [recorder] if config.get("use_cache", True) else ["-c", UNCACHED, recorder]
        if offloaded:
            program = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "record_device_map_trace.py"), recorder]
            json.dump(device_map(config, offloaded), open(os.path.join(folder, "map.json"), "w"))
        command = [sys.executable, *program, folder, "--tokens", str(tokens), "--out", os.path.join(folder, "trace.json")]
        if offloaded:
            command += ["--device-map", os.path.join(folder, "map.json")]
        for key, value in changes.items():
            command += [f"--{key}"] if value is True else [f"--{key}", str(value)]
        subprocess.run(command, check=True)
        trace = json.load(open(os.path.join(folder, "trace.json")))
        if offloaded:
            trace["request"]["offloaded"] = offloaded
    lines = header(config, trace, trace["request"]) + packed([f"{event} {size}" for event, size in trace["events"]])
    with open(os.path.join(out, name + ".txt"), "w") as file:
        file.write("\n".join(lines) + "\n")


def main():
    recorder, configs, out, *names = sys.argv[1:]
    for name in names or GOLDENS:
        print(name, file=sys.stderr)
        make(recorder, configs, out, name)


if __name__ == "__main__":
    main()
