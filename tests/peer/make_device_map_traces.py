#!/usr/bin/env python3
"""Makes tests/goldens/torch_traces/devices: models that dispatch_model has spread over several GPUs.

    make_device_map_traces.py RECORDER OUT [NAME ...]

RECORDER is record_torch_trace.py. Each file: the config and the map as JSON, facts, then the events as in the other goldens, "mm.default@1" being on GPU 1.
"""
import json
import os
import subprocess
import sys
import tempfile

import make_family_traces
import make_static_traces
from make_torch_traces import FAMILIES, SYNTHETIC, packed

# In the order of the model, so that the rotary tables are made last in the map and first in the run.
APART = {"model.embed_tokens": 0, "model.layers.0": 1, "model.layers.1": 0, "model.layers.2": "cpu", "model.norm": 2, "model.rotary_emb": 1, "lm_head": 2}
HEAD_FIRST = {"model.embed_tokens": 1, "model.layers.0": 0, "model.layers.1": 1, "model.layers.2": 1, "model.norm": 0, "model.rotary_emb": 0, "lm_head": 1}
# Positions are counted in the first layer's cache, which must be where the ids are.
LATER = {"model.embed_tokens": 0, "model.layers.0": 0, "model.layers.1": 2, "model.layers.2": "cpu", "model.norm": 1, "model.rotary_emb": 1, "lm_head": 1}
# name: config, tokens, then what differs from batch 1, past 0, bfloat16, a map for shares of 0.75 and 0.4
CASES = {
    "tiny.prefill.modules": ("tiny", 8, {"map": APART, "modules": True}),
    "tiny.decode.modules": ("tiny", 1, {"map": APART, "modules": True, "past": 31}),
    "tiny.prefill.main-is-not-the-embeddings": ("tiny", 5, {"map": HEAD_FIRST, "batch": 2}),
    "tied.prefill.fp32": ("tied", 33, {"shares": "0.8,0.5", "dtype": "float32"}),
    "biased.decode": ("biased", 1, {"shares": "0.7,0.3,0.5", "past": 5, "batch": 2}),
}
for family in sorted(FAMILIES):
    CASES[f"{family}.prefill"] = (family, 20, {"batch": 2})
    CASES[f"{family}.decode"] = (family, 1, {"past": 7})
CASES |= {
    "whole-t5.prefill": ("whole-t5", 20, {"batch": 2, "modules": True}),
    "whole-t5.decode": ("whole-t5", 1, {"past": 7, "prompt": 20, "modules": True}),
    "gated-t5.decode.fp32": ("gated-t5", 1, {"past": 2, "prompt": 9, "batch": 3, "shares": "0.8,0.5", "dtype": "float32"}),
    "gated-t5.prefill.apart": ("gated-t5", 5, {"shares": "0.3,0.35,0.5"}),
    "whole-umt5.prefill": ("whole-umt5", 12, {"shares": "0.75,0.4"}),
    "whole-umt5.decode": ("whole-umt5", 1, {"past": 3, "prompt": 12}),
    "tiny-t5.prefill": ("tiny-t5", 20, {"batch": 2}),
    "static.tiny.prefill.modules": ("tiny", 8, {"map": APART, "modules": True, "static": 40}),
    "static.tiny.decode.modules": ("tiny", 1, {"map": LATER, "modules": True, "past": 31, "static": 40}),
    "static.biased.decode": ("biased", 1, {"shares": "0.7,0.3,0.5", "past": 5, "batch": 2, "static": 9}),
}
for family in sorted(set(FAMILIES) - set(make_static_traces.WITHOUT)):
    CASES[f"static.{family}.prefill"] = (family, 20, {"batch": 2, "static": 28})
    CASES[f"static.{family}.decode"] = (family, 1, {"past": 7, "static": 28})


def make(recorder, out, name):
    source, tokens, changes = CASES[name]
    config = SYNTHETIC.get(source) or FAMILIES.get(source) or make_family_traces.SYNTHETIC[source]
    changes = {"shares": "0.75,0.4"} | changes
    with tempfile.TemporaryDirectory() as folder:
        json.dump(config, open(os.path.join(folder, "config.json"), "w"))
        trace_file = os.path.join(folder, "trace.json")
        here = os.path.dirname(os.path.abspath(__file__))
        command = [sys.executable, os.path.join(here, "record_device_map_trace.py"), recorder, folder, "--tokens", str(tokens), "--out", trace_file]
        if "map" in changes:
            json.dump(changes.pop("map"), open(os.path.join(folder, "map.json"), "w"))
            changes["device-map"] = os.path.join(folder, "map.json")
            del changes["shares"]
        for key, value in changes.items():
            command += [f"--{key}"] if value is True else [f"--{key}", str(value)]
        subprocess.run(command, check=True)
        trace = json.load(open(trace_file))
    facts = {"config": json.dumps(config, separators=(",", ":")), "map": json.dumps(trace["device_map"])}
    facts |= {"prompt": changes["prompt"]} if "prompt" in changes else {}
    facts |= {"reserved": changes["static"]} if "static" in changes else {}
    facts |= {key: trace["request"][key] for key in ("dtype", "batch", "tokens", "past")} | {"modules": int(trace["request"]["modules"])}
    facts |= {key: trace[key] for key in ("kept_bytes", "peak_live_bytes", "peak_rounded_bytes")}
    versions = " ".join(f"{name} {version}" for name, version in trace["versions"].items())
    head = [f"# recorded with {versions}", *(f"{key} {value}" for key, value in facts.items()), f"events {len(trace['events'])}"]
    with open(os.path.join(out, name + ".txt"), "w") as file:
        file.write("\n".join(head + packed([f"{event} {size}" for event, size in trace["events"]])) + "\n")


def main():
    recorder, out, *names = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    for name in names or CASES:
        print(name, file=sys.stderr)
        make(recorder, out, name)


if __name__ == "__main__":
    main()
