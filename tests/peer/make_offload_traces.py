#!/usr/bin/env python3
"""Make tests/goldens/torch_traces/offload: transformers models under diffusers' group offloading and accelerate's model offload.

    make_offload_traces.py RECORDER tests/goldens/torch_traces/offload [NAME…]

RECORDER is the pipelines' recorder, see record_offload_trace.py. A golden: facts, then per pass "pass NUMBER LINES" and an event a line: "operator BYTES" (negative: released),
"host" and "pin" likewise for pageable and pinned host memory, h2d, d2h, "stream K", "sync K" (the host waits), record_stream, read. "* N M" repeats the next M lines N times.
"""
import argparse
import json
import os
import sys
import tempfile

from make_torch_traces import FAMILIES, SYNTHETIC, TINY, packed
from record_offload_trace import load_recorder, record

STREAM = "group-offload:leaf:stream"
ONE, TWO = TINY | {"num_hidden_layers": 1}, TINY | {"num_hidden_layers": 2}
TIED = SYNTHETIC["tied"] | {"num_hidden_layers": 1}
GEMMA = FAMILIES["gemma2"] | {"num_hidden_layers": 1}
# name: config, mode, what differs from 8 tokens, one decode pass, bfloat16, batch 1
GOLDENS = {
    "llama.block-1": (ONE, "group-offload:block:1", {"passes": 2}),
    "llama.block-1-stream": (ONE, "group-offload:block:1:stream", {}),
    "llama.block-1-disk": (ONE, "group-offload:block:1:disk", {}),
    "llama.leaf": (ONE, "group-offload:leaf", {}),
    "llama.leaf-stream": (ONE, STREAM, {"passes": 2}),
    "llama.leaf-stream-record": (ONE, STREAM + ":record_stream", {}),
    "llama.leaf-stream-lowcpu": (ONE, STREAM + ":low_cpu_mem", {}),
    "llama.leaf-disk": (ONE, "group-offload:leaf:disk", {}),
    "llama.leaf-stream-disk": (ONE, STREAM + ":disk", {}),
    "llama.leaf-stream-disk-record": (ONE, STREAM + ":disk:record_stream", {}),
    "llama.model": (ONE, "model-offload", {}),
    "tied.block-2": (TIED, "group-offload:block:2", {"batch": 2}),
    "tied.leaf-stream": (TIED, STREAM, {"dtype": "float32"}),
    "tied.model": (TIED, "model-offload", {}),
    # Without a head the layers are children of the root, and blocks are cut.
    "base.block-1": (TWO, "group-offload:block:1", {"base": True}),
    "base.block-2": (TINY, "group-offload:block:2", {"base": True}),
    "base.block-1-stream": (TWO, "group-offload:block:1:stream", {"base": True}),
    "base.block-1-stream-record": (TWO, "group-offload:block:1:stream:record_stream", {"base": True}),
    "base.block-1-stream-lowcpu": (TWO, "group-offload:block:1:stream:low_cpu_mem", {"base": True}),
    "base.block-1-stream-disk": (TWO, "group-offload:block:1:stream:disk", {"base": True}),
    # Gemma's scale is a buffer of a leaf. Not by blocks: it is a scalar, which fake tensors upload once more than real ones.
    "gemma2.leaf-stream": (GEMMA, STREAM, {"tokens": 4, "passes": 2}),
    "gpt2.leaf-stream": (FAMILIES["gpt2"] | {"n_layer": 1}, STREAM, {}),
}


def hooks_events(events):
    """Without what the model itself makes in host memory (scalars) and copies from there: the hooks copy or read into theirs at once."""
    begin = events.index(["phase", "pass 0"])
    passes = events[begin:]
    own = {e[1] for e, after in zip(passes, passes[1:]) if e[0] == "host" and after[0] not in ("d2h", "read")}
    yield from events[:begin]
    for event in passes:
        host = event[1] if event[0] in ("host", "unhost") else event[3] if event[0] in ("h2d", "d2h") else None
        if host not in own:
            yield event


def lines_of(events):
    """{phase: lines}. What is on the device when a pass begins is its past."""
    names, sizes, phases, lines = {}, {}, {}, []
    for kind, *rest in events:
        if kind == "phase":
            lines = phases.setdefault(rest[0], [])
            names.update((key, "past") for key, name in names.items() if name not in ("host", "pin"))
        elif kind in ("alloc", "host", "pin"):
            key, size = rest[:2]
            names[key], sizes[key] = rest[2] if kind == "alloc" else kind, size
            lines.append(f"{names[key]} {size}")
        elif kind in ("free", "unhost", "unpin"):
            lines.append(f"{names.pop(rest[0])} {-sizes.pop(rest[0])}")
        elif kind in ("h2d", "d2h") and rest[0]:  # an empty key meets an empty cache
            lines.append(f"{kind} {rest[0]} {rest[1]}")
        elif kind == "record_stream":
            lines.append(f"{kind} {sizes[rest[0]]}")
        elif kind not in ("wait", "h2d", "d2h"):
            lines.append(" ".join(str(word) for word in (kind, *rest)))
    return phases


def make(pipelines, out, name):
    config, mode, changes = GOLDENS[name]
    with tempfile.TemporaryDirectory() as folder:
        json.dump(config, open(os.path.join(folder, "config.json"), "w"))
        options = {"folder": folder, "mode": mode, "tokens": 8, "passes": 1, "batch": 1, "dtype": "bfloat16", "base": False, "modules": False} | changes
        trace = record(pipelines, argparse.Namespace(**options))
    phases = lines_of(hooks_events(trace["events"]))
    pinned = sum(int(line.split()[1]) for line in phases["attach"] if line.startswith("pin "))
    head = ["# recorded with " + " ".join(f"{k} {v}" for k, v in trace["versions"].items()), "config " + json.dumps(config, separators=(",", ":"))]
    head += [f"{key} {int(options[key]) if key == 'base' else options[key]}" for key in ("mode", "tokens", "batch", "dtype", "base")] + [f"pinned_at_attach {pinned}"]
    for number in range(options["passes"] + 1):
        lines = phases[f"pass {number}"]
        head += [f"pass {number} {len(lines)}", *packed(lines)]
    if mode == "model-offload":
        head += [f"pass {options['passes'] + 1} {len(phases['end'])}", *packed(phases["end"])]
    with open(os.path.join(out, name + ".txt"), "w") as file:
        file.write("\n".join(head) + "\n")


def main():
    path, out, *names = sys.argv[1:]
    pipelines = load_recorder(path)
    os.makedirs(out, exist_ok=True)
    for name in names or GOLDENS:
        print(name, file=sys.stderr)
        make(pipelines, out, name)


if __name__ == "__main__":
    main()
