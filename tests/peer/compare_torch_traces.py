#!/usr/bin/env python3
"""Compares `inspect trace` with the recorder on random Llama configs, event by event. Not part of the test run: needs torch and transformers.

    compare_torch_traces.py RECORDER INSPECT [COUNT [SEED]]

RECORDER is record_torch_trace.py (run this script with a python that has what it needs), INSPECT our binary. Exit code 1 when any differs.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

FIGURES = ("peak_live_bytes", "peak_rounded_bytes", "kept_bytes", "parameters_bytes", "events")


def random_config(pick):
    kv_heads, group = pick.choice([1, 2, 3, 4]), pick.choice([1, 1, 2, 3, 4])
    heads = kv_heads * group
    config = {
        "architectures": [pick.choice(["LlamaForCausalLM"] * 3 + ["LlamaModel"])], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": heads * pick.choice([2, 7, 16, 30]), "intermediate_size": pick.choice([7, 33, 192, 500]), "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": pick.choice([2, 6, 8, 10, 16, 24, 64]), "num_hidden_layers": pick.choice([1, 2, 3, 4]),
        "vocab_size": pick.choice([11, 320, 1001]), "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": pick.random() < 0.4, "attention_bias": pick.random() < 0.4, "mlp_bias": pick.random() < 0.4,
    }
    if pick.random() < 0.3:
        config["rope_scaling"] = {"rope_type": "linear", "factor": 2.0}
    return config


def main():
    recorder, inspect = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    pick = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    failures = 0
    for number in range(count):
        config, tokens, decode = random_config(pick), pick.choice([1, 2, 17, 100]), pick.random() < 0.5
        common = ["--dtype", pick.choice(["bfloat16", "bfloat16", "float16", "float32"]), "--batch", str(pick.choice([1, 1, 2, 5])),
                  "--offload", pick.choice(["none", "sequential"])]
        common += ["--modules"] if pick.random() < 0.3 else []
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "trace.json")
            with open(os.path.join(folder, "config.json"), "w") as file:
                json.dump(config, file)
            shape = ["--tokens", "1", "--past", str(tokens)] if decode else ["--tokens", str(tokens)]
            subprocess.run([sys.executable, recorder, folder, *shape, *common, "--out", out], check=True, stderr=subprocess.DEVNULL)
            with open(out) as file:
                recorded = json.load(file)
            command = [inspect, "trace", folder, "--pass", f"{'decode' if decode else 'prefill'}:{tokens}", "--runtime", "torch", "--json", *common]
            run = subprocess.run(command, capture_output=True, text=True)
        ours = json.loads(run.stdout) if run.returncode == 0 else {}
        wrong = [figure for figure in FIGURES if ours.get(figure) != recorded[figure]]
        failures += bool(wrong)
        print(number, f"equal, {len(recorded['events'])} events" if not wrong else f"DIFFERS in {wrong}: {config} {shape} {common} {run.stderr}", flush=True)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
