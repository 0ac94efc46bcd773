"""Measures host memory while real libraries load a checkpoint: reports/measured/loading.json.

    python3 tests/peer/measure_loading.py --out reports/measured/loading.json

A llama with random weights is saved in bf16, as safetensors and pickled, in shards of at most 64 MB; each way of loading
runs in a process of its own, on the CPU. With transformers 4 installed, only what that does is measured, and replaces those rows. Its parent reads RssAnon and RssFile in /proc until it is done: the peak above
what the process had before, imports done. glibc gives freed tensors back at once (MALLOC_MMAP_THRESHOLD_).
"""

import argparse
import glob
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

CONFIG = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 16000,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 10,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}
SHARD_BYTES = 64_000_000

# --load and --dtype of simulate, and what does the same.
WAYS = [
    ("naive", "fp32"),
    ("naive", "bf16"),
    ("by-shard:5", "bf16"),
    ("by-shard:5", "fp32"),
    ("by-shard:accelerate", "bf16"),
    ("by-shard:accelerate", "fp32"),
    ("by-shard:bin", "bf16"),
    ("by-shard:bin", "fp32"),
]
# The same with half of the layers and the head on the disk, the rest on the cpu.
DISK = [*(f"model.layers.{i}" for i in range(5, 10)), "lm_head"]
WAYS_WITH_DISK = [("by-shard:accelerate", "bf16"), ("by-shard:bin", "bf16")]
WAYS_OF_4 = [("by-shard:4", "bf16"), ("by-shard:4", "fp32")]


def make_checkpoints(folder):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**CONFIG)).to(torch.bfloat16)
    model.save_pretrained(folder + "/safetensors", max_shard_size=SHARD_BYTES)
    with open(folder + "/safetensors/model.safetensors.index.json") as file:
        index = json.load(file)
    shards = {}
    for name, shard in index["weight_map"].items():
        shards.setdefault(shard, []).append(name)
    os.makedirs(folder + "/bin")
    state = model.state_dict()
    weight_map, sizes = {}, []
    for shard, names in sorted(shards.items()):
        pickled = shard.replace("model", "pytorch_model").replace(".safetensors", ".bin")
        torch.save({name: state[name].clone() for name in names}, f"{folder}/bin/{pickled}")
        weight_map.update({name: pickled for name in names})
        sizes.append(sum(state[name].numel() * 2 for name in names))
    with open(folder + "/bin/pytorch_model.bin.index.json", "w") as file:
        json.dump({"metadata": index["metadata"], "weight_map": weight_map}, file)
    shutil.copy(folder + "/safetensors/config.json", folder + "/bin/config.json")
    return sizes


def load(way, dtype_name, folder, disk):
    """In the child: loads as `way` says, between two lines of its output."""
    import torch
    from accelerate import init_empty_weights, load_checkpoint_in_model
    from transformers import LlamaConfig, LlamaForCausalLM

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype_name]
    config = LlamaConfig(**CONFIG)
    print("ready", flush=True)
    sys.stdin.readline()
    if way == "naive":
        model = LlamaForCausalLM._from_config(config, dtype=dtype)
        state = {}
        for shard in sorted(glob.glob(folder + "/bin/*.bin")):
            state.update(torch.load(shard, map_location="cpu", weights_only=True))
        model.load_state_dict(state)
        del state
    elif way in ("by-shard:4", "by-shard:5"):
        model = LlamaForCausalLM.from_pretrained(folder + "/safetensors", dtype=dtype)
    else:
        with init_empty_weights():
            model = LlamaForCausalLM._from_config(config, dtype=dtype)
        files = "bin" if way == "by-shard:bin" else "safetensors"
        device_map = {"": "cpu"}
        if disk:
            names = ["model.embed_tokens", *(f"model.layers.{i}" for i in range(10)), "model.norm", "model.rotary_emb", "lm_head"]
            device_map = {name: "disk" if name in DISK else "cpu" for name in names}
        load_checkpoint_in_model(
            model, f"{folder}/{files}", device_map=device_map, dtype=dtype, offload_folder=f"{folder}/offloaded" if disk else None, offload_state_dict=disk
        )
    print("done", flush=True)
    sys.stdin.readline()


def resident(pid):
    sizes = {}
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(("RssAnon", "RssFile")):
                key, value = line.split(":")
                sizes[key] = int(value.split()[0]) * 1024
    return sizes


def folder_size(path):
    return sum(os.path.getsize(file) for file in glob.glob(path + "/*.dat"))


def measure(way, dtype, folder, disk=False):
    child = subprocess.Popen(
        [sys.executable, __file__, "--child", way, dtype, folder, *(["disk"] if disk else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, MALLOC_MMAP_THRESHOLD_="65536", HF_HUB_OFFLINE="1"),
    )
    while "ready" not in (line := child.stdout.readline()):
        if not line:
            raise RuntimeError(f"{way} {dtype}: the child ended")
    before = resident(child.pid)
    peak = dict(before)
    os.set_blocking(child.stdout.fileno(), False)
    child.stdin.write("\n")
    child.stdin.flush()
    while "done" not in (child.stdout.readline() or ""):
        if child.poll() is not None:
            raise RuntimeError(f"{way} {dtype}: the child ended")
        for key, value in resident(child.pid).items():
            peak[key] = max(peak[key], value)
        time.sleep(0.0005)
    after = resident(child.pid)
    child.communicate("\n")
    return {
        "load": way,
        "dtype": dtype,
        **({"disk": DISK, "folder_bytes": folder_size(f"{folder}/offloaded")} if disk else {}),
        "anon_peak_bytes": peak["RssAnon"] - before["RssAnon"],
        "anon_after_bytes": after["RssAnon"] - before["RssAnon"],
        "file_peak_bytes": peak["RssFile"] - before["RssFile"],
        "file_after_bytes": after["RssFile"] - before["RssFile"],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out")
    parser.add_argument("--child", nargs="+")
    options = parser.parse_args()
    if options.child:
        way, dtype, folder, *disk = options.child
        return load(way, dtype, folder, bool(disk))
    with tempfile.TemporaryDirectory() as folder:
        sizes = make_checkpoints(folder)
        versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers", "accelerate", "safetensors")}
        old = versions["transformers"].startswith("4.")
        rows = []
        for way, dtype in WAYS_OF_4 if old else WAYS:
            rows.append(measure(way, dtype, folder) | ({"versions": versions} if old else {}))
            print(rows[-1])
        for way, dtype in [] if old else WAYS_WITH_DISK:
            rows.append(measure(way, dtype, folder, disk=True))
            shutil.rmtree(folder + "/offloaded")
            print(rows[-1])
    result = {"versions": versions, "config": CONFIG, "shard_bytes": sizes, "ways": rows}
    if old:
        with open(options.out) as file:
            result = json.load(file)
        assert result["shard_bytes"] == sizes, f"shards of {sizes} bytes, {result['shard_bytes']} in {options.out}"
        result["ways"] = [row for row in result["ways"] if row["load"] != "by-shard:4"] + rows
    with open(options.out, "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
