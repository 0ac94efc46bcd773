"""Compares `plan --emit device-map` of random configs with accelerate's and transformers' maps of the classes they describe.

    python tests/peer/config_maps.py PLAN [COUNT] [SEED] [FAMILY,...]

COUNT configs of each family of random_configs.py, each with budgets, a mode and rules drawn for it; the class is built on
the meta device in fp32. So the names of modules, their sizes and what may not be split are compared, too. Needs torch,
accelerate 1.15 and transformers 5.23. Exit code: 1 for any difference, which is printed with its config.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile

import device_maps
import random_configs
import torch
import transformers


def drawn(family, seed):
    """(config, budgets in shares of the model, mode, rules)"""
    random_configs.r.seed(seed)
    config = random_configs.FAMILIES[family]()
    config["torch_dtype"] = "float32"
    pick = random.Random(seed)
    shares = {str(gpu): pick.choice([0.1, 0.25, 0.4, 0.6, 1, 1.5]) * pick.random() for gpu in range(pick.choice([1, 1, 2, 3]))}
    if pick.random() < 0.85:
        shares["cpu"] = pick.choice([0.3, 2, 4])
    return config, shares, pick.choice(["auto", "balanced", "balanced_low_0", "sequential"]), pick.choice(["accelerate", "transformers"])


def model_of(config):
    fields = {key: value for key, value in json.loads(json.dumps(config)).items() if key != "model_type"}
    made = transformers.AutoConfig.for_model(config["model_type"], **fields)
    with torch.device("meta"):
        model = getattr(transformers, config["architectures"][0])(made)
    model.tie_weights()
    return model


def theirs(model, case):
    keys = model.all_tied_weights_keys
    groups = [[source] + [k for k, v in keys.items() if v == source] for source in dict.fromkeys(keys.values())]
    case = case | {"tree": {"root": device_maps.dump(model), "tied_groups": groups}, "no_split": sorted(model._no_split_modules or [])}
    want = device_maps.reference(case, model)
    return {key: want[key] for key in ("map", "error") if key in want}


def ours(plan, config, case):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config, file)
        command = [plan, "--model", folder, "--strategy", "device-map:" + case["strategy"], "--emit", "device-map", "--rules", case["rules"],
                   "--max-memory", json.dumps(case["max_memory"])]
        run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode == 0:
        return {"map": {name: str(device) for name, device in json.loads(run.stdout).items()}}
    return {"error": "endless" if "does not end" in run.stderr else run.stderr.rstrip(")\n").rpartition("(")[2]}


def main():
    signal.signal(signal.SIGALRM, device_maps.on_alarm)
    plan, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 20
    seed = sys.argv[3] if len(sys.argv) > 3 else "1"
    compared, differing, refused = 0, 0, 0
    for family in sys.argv[4].split(",") if len(sys.argv) > 4 else random_configs.FAMILIES:
        for index in range(count):
            config, shares, strategy, rules = drawn(family, f"{seed} {family} {index}")
            try:
                model = model_of(config)
            except Exception:  # a config that transformers refuses says nothing about ours
                refused += 1
                continue
            total = sum(p.numel() * p.element_size() for p in model.parameters())
            case = {"rules": rules, "strategy": strategy, "max_memory": {device: int(share * total) + 100 for device, share in shares.items()}}
            want, got = theirs(model, case), ours(plan, config, case)
            compared += 1
            if want != got:
                differing += 1
                print(f"{family} {index}: {json.dumps(config)} {case}\n    want {want}\n    got  {got}", flush=True)
    print(f"{compared} maps compared, {differing} differ, {refused} configs refused by transformers")
    sys.exit(differing != 0)


if __name__ == "__main__":
    main()
