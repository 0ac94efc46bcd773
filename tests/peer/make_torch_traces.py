#!/usr/bin/env python3
"""Makes the goldens of tests/goldens/torch_traces: what transformers' models and accelerate's hooks really allocate.

    make_torch_traces.py RECORDER CONFIGS OUT [NAME ...]

RECORDER is record_torch_trace.py (needs torch 2.15, transformers 5.23, accelerate 1.15; run this script with their python), CONFIGS a folder with
<model>.json (config.json of public models), OUT the folder to write to. With NAMEs only those goldens are made.

Llama's goldens go to OUT, those of the other families to OUT/families: there the header holds the config.json, or the name of a model of our zoo.
A golden is text: header lines (key and values; the facts our own model is built from), then one event a line, "name bytes" as the recorder
prints them. "* N M" says that the M lines after it occur N times in a row.
"""
import contextlib
import importlib.util
import io
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
# A dynamic rope looks at the length, which the recorder's tensors do not have: it is no more than max_position_embeddings.
DYNAMIC = """
import runpy, sys
from torch._subclasses.fake_tensor import FakeTensor
FakeTensor.__bool__ = lambda self: False
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


SMALL = {
    "hidden_size": 64, "intermediate_size": 192, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 3, "vocab_size": 320,
    "max_position_embeddings": 512, "pad_token_id": 0, "hidden_act": "silu",
}
GELU = {"hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh"}


def small(model_type, architecture, **changes):
    return SMALL | {"model_type": model_type, "architectures": [architecture]} | changes


FALCON = {
    "model_type": "falcon", "architectures": ["FalconForCausalLM"], "hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 3, "vocab_size": 320,
}

# The windows of 8 are passed by 20 tokens and reached by decode:7; layers of both kinds wherever a family has both.
FAMILIES = {
    "qwen2": small("qwen2", "Qwen2ForCausalLM", use_sliding_window=True, sliding_window=8, max_window_layers=1),
    "mistral": small("mistral", "MistralForCausalLM", sliding_window=8),
    "qwen3": small("qwen3", "Qwen3ForCausalLM", head_dim=32, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    "gemma2": small("gemma2", "Gemma2ForCausalLM", head_dim=32, sliding_window=8, **GELU),
    "gemma3": small("gemma3_text", "Gemma3ForCausalLM", head_dim=32, sliding_window=8, sliding_window_pattern=2, **GELU),
    "phi3": small("phi3", "Phi3ForCausalLM", sliding_window=8, partial_rotary_factor=0.5),
    "gpt2": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 64, "n_head": 4, "n_layer": 3, "n_positions": 128, "vocab_size": 320},
    "opt": {"model_type": "opt", "architectures": ["OPTForCausalLM"], "hidden_size": 64, "ffn_dim": 192, "num_attention_heads": 4,
            "num_hidden_layers": 3, "max_position_embeddings": 128, "vocab_size": 320, "word_embed_proj_dim": 32, "pad_token_id": 1},
    "gpt-neox": {"model_type": "gpt_neox", "architectures": ["GPTNeoXForCausalLM"], "hidden_size": 64, "intermediate_size": 192, "num_attention_heads": 4,
                 "num_hidden_layers": 3, "max_position_embeddings": 128, "vocab_size": 320, "rotary_pct": 0.5},
    "starcoder2": small("starcoder2", "Starcoder2ForCausalLM", sliding_window=8, use_bias=True, **GELU),
    "olmo2": small("olmo2", "Olmo2ForCausalLM"),
    "smollm3": small("smollm3", "SmolLM3ForCausalLM", no_rope_layers=[1, 0, 1]),
    "cohere": small("cohere", "CohereForCausalLM", use_qk_norm=True),
    "gemma": small("gemma", "GemmaForCausalLM", head_dim=32, **GELU),
    "gptj": {"model_type": "gptj", "architectures": ["GPTJForCausalLM"], "n_embd": 64, "n_head": 4, "n_layer": 3, "n_positions": 128, "vocab_size": 320,
             "rotary_dim": 8, "tie_word_embeddings": False},
    "bloom": {"model_type": "bloom", "architectures": ["BloomForCausalLM"], "hidden_size": 72, "n_head": 6, "n_layer": 3, "vocab_size": 320},
    "falcon": FALCON,
    "grouped-falcon": FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2},
    "alibi-falcon": FALCON | {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True, "num_attention_heads": 6, "hidden_size": 72},
    "dynamic-llama": small("llama", "LlamaForCausalLM", rope_scaling={"rope_type": "dynamic", "factor": 2.0}),
    "longrope-phi3": small("phi3", "Phi3ForCausalLM", original_max_position_embeddings=64, max_position_embeddings=512,
                           rope_scaling={"type": "longrope", "short_factor": [1.0] * 8, "long_factor": [2.0] * 8}),
}
PUBLIC = ["qwen2.5-1.5b", "mistral-7b-v0.3", "qwen3-8b", "gemma-2-9b", "gemma-3-1b", "phi-3-mini", "gpt2-xl", "opt-6.7b", "gpt-neox-20b", "starcoder2-7b",
          "olmo-2-7b", "smollm3-3b", "gemma-2b", "gpt-j-6b", "bloom-176b", "falcon-40b"]


def family_goldens():
    """name: model, tokens, changes. The forms that differ most come first."""
    goldens = {}
    for tokens, changes, form in (
        (20, {"batch": 2}, "prefill"),
        (1, {"past": 20, "offload": "sequential"}, "decode.sequential"),
        (1, {"past": 7, "batch": 2, "modules": True}, "decode.modules"),
    ):
        goldens |= {f"{name}.{form}": (name, tokens, changes) for name in FAMILIES}
    for tokens, changes, form in ((512, {}, "prefill"), (1, {"past": 512}, "decode")):
        goldens |= {f"{name}.{form}": (name, tokens, changes) for name in PUBLIC}
    return goldens


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


def family_header(source, trace, request):
    facts = dict([source]) | {key: request[key] for key in ("dtype", "batch", "tokens", "past", "offload")} | {"modules": int(request["modules"])}
    facts |= {key: trace[key] for key in ("parameters_bytes", "kept_bytes", "peak_live_bytes", "peak_rounded_bytes")}
    versions = " ".join(f"{name} {version}" for name, version in trace["versions"].items())
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


def record_apart(recorder, config, tokens, changes):
    """In a process of its own: with a device map, or without a cache."""
    changes = dict(changes)
    offloaded = changes.pop("offloaded", None)
    with tempfile.TemporaryDirectory() as folder:
        json.dump(config, open(os.path.join(folder, "config.json"), "w"))
        program = ["-c", UNCACHED if not config.get("use_cache", True) else DYNAMIC, recorder.__file__]
        if offloaded:
            program = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "record_device_map_trace.py"), recorder.__file__]
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
        return trace


def record(recorder, config, tokens, changes):
    """In this process: importing torch takes longer than most recordings."""
    with tempfile.TemporaryDirectory() as folder:
        json.dump(config, open(os.path.join(folder, "config.json"), "w"))
        sys.argv = [recorder.__file__, folder, "--tokens", str(tokens), "--out", os.path.join(folder, "trace.json")]
        for key, value in changes.items():
            sys.argv += [f"--{key}"] if value is True else [f"--{key}", str(value)]
        with contextlib.redirect_stderr(io.StringIO()):
            recorder.main()
        return json.load(open(os.path.join(folder, "trace.json")))


def make(recorder, configs, out, name):
    family = name not in GOLDENS
    model, tokens, changes = (family_goldens() if family else GOLDENS)[name]
    config = SYNTHETIC.get(model) or FAMILIES.get(model) or json.load(open(os.path.join(configs, model + ".json")))
    dynamic = (config.get("rope_scaling") or {}).get("rope_type") == "dynamic"
    apart = "offloaded" in changes or not config.get("use_cache", True) or dynamic
    trace = (record_apart if apart else record)(recorder, config, tokens, changes)
    source = ("config", json.dumps(config, separators=(",", ":"))) if model in FAMILIES else ("model", model)
    head = family_header(source, trace, trace["request"]) if family else header(config, trace, trace["request"])
    lines = head + packed([f"{event} {size}" for event, size in trace["events"]])
    with open(os.path.join(out, "families" if family else "", name + ".txt"), "w") as file:
        file.write("\n".join(lines) + "\n")


def main():
    path, configs, out, *names = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("record_torch_trace", path)
    recorder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recorder)
    os.makedirs(os.path.join(out, "families"), exist_ok=True)
    for name in names or [*GOLDENS, *family_goldens()]:
        print(name, file=sys.stderr)
        make(recorder, configs, out, name)


if __name__ == "__main__":
    main()
