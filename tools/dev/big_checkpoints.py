"""Writes checkpoints of which only headers exist, for the figures of docs/performance.md: sparse files of full size.

    python3 tools/dev/big_checkpoints.py INSPECT OUT

OUT/deepseek-v3   config.json and 163 safetensors shards with an index, as published (about 92,000 tensors, 689 GB that
                  take 13 MB of disk)
OUT/million.gguf  1,000,000 tensors of 32 F32 elements
"""

import json
import os
import struct
import subprocess
import sys

SHARDS = 163
CONFIG = {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "torch_dtype": "bfloat16",
          "num_nextn_predict_layers": 1, "rope_scaling": {"type": "yarn", "factor": 40.0,
                                                          "original_max_position_embeddings": 4096},
          "max_position_embeddings": 163840,
          "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}}
NAMES = {"bf16": "BF16", "fp32": "F32", "fp8_e4m3": "F8_E4M3"}


def deepseek(inspect, folder):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(CONFIG, f)
    index = os.path.join(folder, "model.safetensors.index.json")
    if os.path.exists(index):
        os.remove(index)
    done = subprocess.run([inspect, "tensors", os.path.join(folder, "config.json"), "--json"], check=True,
                          capture_output=True)
    tensors, weight_map, total = json.loads(done.stdout), {}, 0
    each = -(-len(tensors) // SHARDS)
    for shard in range(SHARDS):
        name = "model-%05d-of-%05d.safetensors" % (shard + 1, SHARDS)
        header, at = {}, 0
        for t in tensors[shard * each:(shard + 1) * each]:
            header[t["name"]] = {"dtype": NAMES.get(t["dtype"], t["dtype"]), "shape": t["shape"],
                                 "data_offsets": [at, at + t["bytes"]]}
            at += t["bytes"]
            weight_map[t["name"]] = name
        total += at
        text = json.dumps(header, separators=(",", ":")).encode()
        with open(os.path.join(folder, name), "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            f.truncate(8 + len(text) + at)
    with open(index, "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}, f)
    return len(tensors)


def million(path, count=1_000_000):
    def text(s):
        return struct.pack("<Q", len(s)) + s.encode()

    out = [b"GGUF", struct.pack("<IQQ", 3, count, 1), text("general.architecture"), struct.pack("<I", 8), text("made-up")]
    for i in range(count):
        out.append(text("blk.%d.expert_%d.weight" % (i // 1000, i % 1000)) + struct.pack("<IQIQ", 1, 32, 0, 128 * i))
    data = b"".join(out)
    with open(path, "wb") as f:
        f.write(data)
        f.truncate(-(-len(data) // 32) * 32 + 128 * count)


def main():
    inspect, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    print("%d tensors in %s" % (deepseek(inspect, os.path.join(out, "deepseek-v3")), os.path.join(out, "deepseek-v3")))
    million(os.path.join(out, "million.gguf"))


main()
