"""Writes the module trees of transformers' Llama classes for planner/families/llama_golden_test.cc.

    python tests/peer/llama_module_tree.py planner/families/goldens/llama_trees.txt

Needs torch and transformers (recorded with 5.23.0); models are built on the meta device, nothing is downloaded. Per case:

    == NAME {config.json on one line}
    modules, parameters, sum of parameter elements (a tied weight once); no-split classes
    MODULE CLASS PARAM[shape] ... ~BUFFER[shape]:dtype[!]      (! = not saved; the root is '.')
    tied: OWNER = COPY

Layers beyond the first two are only counted: a line "# layers 2..N as layer 1" stands for them, after a check that they
are the same.
"""

import json
import re
import sys

import torch
import transformers

H = dict(model_type="llama", architectures=["LlamaForCausalLM"], rms_norm_eps=1e-5)


def rope(factor):
    return dict(rope_theta=5e5, rope_scaling=dict(rope_type="llama3", factor=factor, low_freq_factor=1.0,
                high_freq_factor=4.0, original_max_position_embeddings=8192), max_position_embeddings=131072)


def sizes(layers, hidden, intermediate, heads, kv, vocab):
    return dict(num_hidden_layers=layers, hidden_size=hidden, intermediate_size=intermediate, num_attention_heads=heads,
                num_key_value_heads=kv, vocab_size=vocab)


CASES = {
    "llama-2-7b": H | sizes(32, 4096, 11008, 32, 32, 32000) | dict(torch_dtype="float16", max_position_embeddings=4096),
    "llama-2-13b": H | sizes(40, 5120, 13824, 40, 40, 32000) | dict(torch_dtype="float16", max_position_embeddings=4096),
    "llama-2-70b": H | sizes(80, 8192, 28672, 64, 8, 32000) | dict(torch_dtype="float16", max_position_embeddings=4096),
    "llama-3-8b": H | sizes(32, 4096, 14336, 32, 8, 128256) | dict(torch_dtype="bfloat16", rope_theta=5e5),
    "llama-3-70b": H | sizes(80, 8192, 28672, 64, 8, 128256) | dict(torch_dtype="bfloat16", rope_theta=5e5),
    "llama-3.1-8b": H | sizes(32, 4096, 14336, 32, 8, 128256) | rope(8.0) | dict(torch_dtype="bfloat16"),
    "llama-3.1-70b": H | sizes(80, 8192, 28672, 64, 8, 128256) | rope(8.0) | dict(torch_dtype="bfloat16"),
    "llama-3.1-405b": H | sizes(126, 16384, 53248, 128, 8, 128256) | rope(8.0) | dict(torch_dtype="bfloat16"),
    "llama-3.2-1b": H | sizes(16, 2048, 8192, 32, 8, 128256) | rope(32.0)
                    | dict(torch_dtype="bfloat16", head_dim=64, tie_word_embeddings=True),
    "llama-3.2-3b": H | sizes(28, 3072, 8192, 24, 8, 128256) | rope(32.0)
                    | dict(torch_dtype="bfloat16", head_dim=128, tie_word_embeddings=True),
    "text-encoder": H | sizes(32, 4096, 14336, 32, 8, 128320)
                    | dict(torch_dtype="float16", architectures=["LlamaModel"], rope_theta=5e5),
    "biases": H | sizes(3, 64, 160, 4, 2, 320)
              | dict(attention_bias=True, mlp_bias=True, head_dim=24, tie_word_embeddings=True),
    "no-kv-heads": H | {k: v for k, v in sizes(2, 64, 160, 4, 2, 320).items() if k != "num_key_value_heads"}
                   | dict(rope_scaling=dict(type="linear", factor=2.0), dtype="bfloat16"),
}


def shape(t):
    return "[" + ", ".join(str(d) for d in t.shape) + "]"


def line(name, module):
    out = [name or ".", type(module).__name__]
    out += [k + shape(p) for k, p in module.named_parameters(recurse=False, remove_duplicate=False)]
    for k, b in module.named_buffers(recurse=False):
        out.append("~%s%s:%s%s" % (k, shape(b), str(b.dtype)[6:], "!" if k in module._non_persistent_buffers_set else ""))
    return " ".join(out)


def layer_of(name):
    m = re.search(r"(?:^|\.)layers\.(\d+)(?:\.|$)", name)
    return int(m.group(1)) if m else None


def tree(config):
    c = transformers.LlamaConfig(**{k: v for k, v in config.items() if k != "model_type"})
    with torch.device("meta"):
        model = getattr(transformers, config["architectures"][0])(c)
    model.tie_weights()
    lines, layers = [], {}
    for name, module in model.named_modules(remove_duplicate=False):
        i = layer_of(name)
        if i is not None:
            layers.setdefault(i, []).append(re.sub(r"layers\.\d+", "layers.#", line(name, module)))
        if i is None or i < 2:
            lines.append(line(name, module))
        elif i == 2 and name.endswith("layers.2"):
            lines.append("# layers 2..%d as layer 1" % (c.num_hidden_layers - 1))
    assert all(layers[i] == layers[1] for i in layers if i > 1)
    no_split = sorted(model._no_split_modules)
    head = "%d modules, %d parameters, %d elements; %s" % (
        sum(1 for _ in model.named_modules(remove_duplicate=False)), sum(1 for _ in model.named_parameters()),
        sum(p.numel() for p in model.parameters()), ", ".join(no_split))
    owners = {}
    tied = []
    for k, p in model.named_parameters(remove_duplicate=False):
        if id(p) in owners:
            tied.append("tied: %s = %s" % (owners[id(p)], k))
        owners.setdefault(id(p), k)
    return [head] + lines + tied


def main():
    out = []
    for name, config in CASES.items():
        out.append("== %s %s" % (name, json.dumps(config)))
        out += tree(config)
    with open(sys.argv[1], "w") as f:
        f.write("\n".join(out) + "\n")


main()
