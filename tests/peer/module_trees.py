"""Compares `inspect tensors --json` and `inspect tree --json` of config files with the classes of transformers.

    python tests/peer/module_trees.py INSPECT CONFIG.json ...

Needs torch and transformers 5.23; models are built on the meta device, nothing is downloaded. A checkpoint keeps one
tensor per expert and, of Gemma 3, the names of older versions; both are brought to the form in memory before comparing.
What quantized classes hold in memory depends on kernels and cards, so a quantization_config is left out on both sides.
"""

import collections
import json
import re
import subprocess
import sys
import tempfile

import torch
import transformers

RENAMES = [(r"^language_model\.model\.", "model.language_model."), (r"^language_model\.lm_head", "lm_head"),
           (r"^vision_tower\.vision_model\.", "model.vision_tower."),
           (r"^multi_modal_projector\.", "model.multi_modal_projector.")]
EXPERT = re.compile(r"^(.*)\.experts\.(\d+)\.(gate_proj|up_proj|down_proj|w1|w2|w3)\.weight$")


def ours(inspect, path):
    tensors = json.loads(subprocess.run([inspect, "tensors", path, "--json"], check=True, capture_output=True).stdout)
    return {t["name"]: t["shape"] for t in tensors}


def stacked(tensors):
    """One tensor per expert -> the two of transformers 5."""
    out, experts = {}, collections.defaultdict(lambda: collections.defaultdict(set))
    for name, shape in tensors.items():
        m = EXPERT.match(name)
        if m is None:
            out[name] = shape
        else:
            experts[m.group(1)][m.group(2)].add((m.group(3), tuple(shape)))
    for base, each in experts.items():
        assert len({frozenset(e) for e in each.values()}) == 1, base
        shapes = dict(next(iter(each.values())))
        wide, high = shapes.get("gate_proj") or shapes["w1"]
        assert (shapes.get("up_proj") or shapes["w3"]) == (wide, high)
        assert (shapes.get("down_proj") or shapes["w2"]) == (high, wide)
        out[base + ".experts.gate_up_proj"] = [len(each), 2 * wide, high]
        out[base + ".experts.down_proj"] = [len(each), high, wide]
    return {k.replace(".block_sparse_moe.", ".mlp."): v for k, v in out.items()}


def theirs(config):
    kind = "deepseek_v3" if config["model_type"] == "kimi_k2" else config["model_type"]
    c = transformers.AutoConfig.for_model(**(config | {"model_type": kind}))
    with torch.device("meta"):
        model = getattr(transformers, config["architectures"][0])(c)
    model.tie_weights()
    out, seen = {}, set()
    for name, p in model.named_parameters(remove_duplicate=False):
        if id(p) not in seen:
            out[name] = list(p.shape)
        seen.add(id(p))
    persistent = set(model.state_dict())
    out.update({k: list(b.shape) for k, b in model.named_buffers() if k in persistent})
    return out, sum(p.numel() for p in model.parameters()), model._no_split_modules


def main():
    inspect, failed = sys.argv[1], 0
    for path in sys.argv[2:]:
        config = json.load(open(path))
        config.pop("quantization_config", None)
        config.pop("auto_map", None)
        config["num_nextn_predict_layers"] = 0
        with tempfile.NamedTemporaryFile("w", suffix=".json") as plain:
            json.dump(config, plain)
            plain.flush()
            got = stacked(ours(inspect, plain.name))
        if config["model_type"] == "gemma3":
            for pattern, to in RENAMES:
                got = {re.sub(pattern, to, k): v for k, v in got.items()}
        want, count, _ = theirs(config)
        wrong = sorted(k for k in got.keys() | want.keys() if got.get(k) != want.get(k))
        failed += bool(wrong)
        print("%-40s %6d tensors %16d parameters  %s" % (path.rsplit("/", 1)[-1], len(want), count,
                                                          "same" if not wrong else "%d DIFFER" % len(wrong)))
        for k in wrong[:5]:
            print("   ", k, got.get(k), want.get(k))
    sys.exit(failed != 0)


main()
