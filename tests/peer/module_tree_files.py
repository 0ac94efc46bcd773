"""Writes module tree files with tools/python/dump_modules.py for planner/zoo/module_trees_test.cc.

    python tests/peer/module_tree_files.py planner/zoo/goldens

Needs torch and transformers (recorded with 5.23.0). FAMILY.modules.json has the tree of the config that the test holds
under the same name; shared.modules.json that of a module of our own that registers one block twice and ties a weight.
"""

import json
import os
import sys

import torch
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "python"))
import dump_modules  # noqa: E402

CONFIGS = {
    "llama": dict(model_type="llama", architectures=["LlamaForCausalLM"], num_hidden_layers=2, hidden_size=32,
                  intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, vocab_size=96, dtype="bfloat16",
                  tie_word_embeddings=True),
    "gpt2": dict(model_type="gpt2", architectures=["GPT2LMHeadModel"], n_layer=2, n_embd=32, n_head=4, vocab_size=96,
                 n_positions=16),
    "falcon": dict(model_type="falcon", architectures=["FalconForCausalLM"], num_hidden_layers=2, hidden_size=64,
                   num_attention_heads=4, num_kv_heads=2, new_decoder_architecture=True, vocab_size=96,
                   dtype="float16"),
}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(4, 8, bias=False)
        self.norm = nn.BatchNorm1d(8)
        self.register_buffer("steps", torch.zeros(3), persistent=False)


class Shared(nn.Module):
    _no_split_modules = ["Block"]

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 4)
        self.first = Block()
        self.again = self.first
        self.list = nn.ModuleList([Block(), self.first.up])
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embed.weight


def main():
    for name, config in CONFIGS.items():
        print(name, json.dumps(config))
        dump_modules.write(dump_modules.build(config), os.path.join(sys.argv[1], name + ".modules.json"))
    with torch.device("meta"):
        dump_modules.write(Shared(), os.path.join(sys.argv[1], "shared.modules.json"))


main()
