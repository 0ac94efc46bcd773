#!/usr/bin/env python3
"""Makes the goldens of tests/goldens/torch_traces/static: what transformers' models allocate over a StaticCache.

    make_static_traces.py RECORDER CONFIGS OUT [NAME ...]

Arguments and form as make_family_traces.py's; "reserved" is the length of the cache. Each recording is a process of its own, forked
with the libraries loaded.
"""
import json
import os
import sys
import tempfile

from make_family_traces import SYNTHETIC as SPARSE
from make_family_traces import run_script
from make_torch_traces import FAMILIES, SYNTHETIC, packed

MODELS = {"tiny": SYNTHETIC["tiny"], **FAMILIES, **{name: SPARSE[name] for name in (
    "tiny-mixtral", "sliding-mixtral", "tiny-qwen3-moe", "tiny-gpt-oss", "tiny-llama4", "tiny-deepseek-v2", "tiny-deepseek-v3")}}
# transformers 5.23 fails: the biases are as long as the prompt, the mask as the cache.
WITHOUT = ("alibi-falcon", "dynamic-llama", "longrope-phi3")
PUBLIC = ("llama-3.1-8b", "gemma-2-9b", "gemma-3-1b", "qwen2.5-1.5b", "gpt2-xl", "mixtral-8x7b")
GOLDENS = {}
for _name in MODELS:
    if _name in WITHOUT:
        continue
    # Checkpoints of GPT-NeoX call its head otherwise than its class does, so that its modules are not marked.
    # Windows of 6 to 8 are passed by the prompt of 20, not reached by that of 5; in the decode steps before and after they are full.
    GOLDENS |= {
        f"{_name}.prefill": (_name, 20, 28, {"batch": 2}), f"{_name}.prefill.short": (_name, 5, 28, {"modules": _name != "gpt-neox"}),
        f"{_name}.decode.early": (_name, 1, 28, {"past": 5, "batch": 3}), f"{_name}.decode.late": (_name, 1, 28, {"past": 20}),
    }
GOLDENS |= {
    "tiny.decode.sequential": ("tiny", 1, 28, {"past": 20, "offload": "sequential"}), "tiny.prefill.sequential": ("tiny", 5, 28, {"offload": "sequential"}),
    "tiny.prefill.one-token": ("tiny", 1, 9, {}), "gemma2.prefill.narrow": ("gemma2", 3, 6, {"batch": 2}), "gemma2.decode.narrow": ("gemma2", 1, 6, {"past": 4}),
    "qwen2.prefill.narrow": ("qwen2", 3, 6, {}), "qwen2.decode.narrow": ("qwen2", 1, 6, {"past": 4}), "qwen2.prefill.one-token": ("qwen2", 1, 28, {}),
}
for _name in PUBLIC:
    GOLDENS |= {f"{_name}.prefill": (_name, 512, 639, {}), f"{_name}.decode": (_name, 1, 639, {"past": 600})}


def make(recorder, configs, out, name):
    model, tokens, reserved, changes = GOLDENS[name]
    config = MODELS.get(model) or json.load(open(os.path.join(configs, model + ".json")))
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "record_static_trace.py")
    with tempfile.TemporaryDirectory() as folder:
        json.dump(config, open(os.path.join(folder, "config.json"), "w"))
        command = [script, recorder, str(reserved), folder, "--tokens", str(tokens), "--out", os.path.join(folder, "trace.json")]
        for key, value in changes.items():
            command += [f"--{key}"] if value is True else [] if value is False else [f"--{key}", str(value)]
        run_script(command)
        trace = json.load(open(os.path.join(folder, "trace.json")))
    request = trace["request"]
    source = f"config {json.dumps(config, sort_keys=True)}" if model in MODELS else f"model {model}"
    facts = {key: request[key] for key in ("dtype", "batch", "tokens", "past", "offload")} | {"reserved": reserved, "modules": int(request["modules"])}
    facts |= {key: trace[key] for key in ("parameters_bytes", "kept_bytes", "peak_live_bytes", "peak_rounded_bytes")}
    versions = " ".join(f"{library} {version}" for library, version in trace["versions"].items())
    lines = [f"# recorded with {versions}", source, *(f"{key} {value}" for key, value in facts.items())]
    lines += [f"events {len(trace['events'])}", *packed([f"{event} {size}" for event, size in trace["events"]])]
    with open(os.path.join(out, name + ".txt"), "w") as file:
        file.write("\n".join(lines) + "\n")


def main():
    recorder, configs, out, *names = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for name in names or GOLDENS:
        print(name, file=sys.stderr)
        make(recorder, configs, out, name)


if __name__ == "__main__":
    main()
