"""Compares our device maps with those of the real accelerate and transformers.

    python tests/peer/device_maps.py --ours bazel-bin/tests/peer/device_maps_main [--trees 3000] [--seed 1]
    python tests/peer/device_maps.py --ours … --real              real architectures on the meta device
    python tests/peer/device_maps.py --plan bazel-bin/tools/plan [--real | --trees 300]    the command line: maps, errors
    python tests/peer/device_maps.py --goldens tests/goldens/device_maps

Python with torch, accelerate 1.15 and transformers 5.23. Random trees have tied parameters, parameters and buffers
directly under modules that get split, modules registered twice, nested no-split classes, names that contain each other,
huge and empty layers, 4-bit and bool tensors. Compared: module sizes in order, balanced budgets with their kind (int or
float), the map, the devices left empty, the buffer warning, and the exception's type where Python raises. The order of
tied groups is a set's there and fixed for the comparison.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import warnings

import torch
from accelerate.utils import modeling as hf
from transformers.integrations import accelerate as tf
from torch import nn

DTYPES = {name: getattr(torch, name) for name in
          ["float32", "float16", "bfloat16", "float64", "int8", "uint8", "int32", "int64", "bool", "float8_e4m3fn"]}
SPECIAL = dict(DTYPES, int4=hf.CustomDtype.INT4, int2=hf.CustomDtype.INT2, fp8=hf.CustomDtype.FP8)


# ---- module trees: from and to Python

def build(node, objects, modules, path, shared):
    """The nn.Module of a NODE on the meta device. `shared`: parameters with equal ids are one object."""
    source = node.get("same_module_object_as")
    if source is not None and shared:
        return modules[source]
    module = type(node["class"], (nn.Module,), {})()
    modules[path] = module
    for key in ("params", "buffers"):
        for t in node.get(key, []):
            tensor = objects.get(t.get("id")) if shared or key == "buffers" else None
            if tensor is None:
                tensor = torch.empty(t["shape"], dtype=DTYPES[t["dtype"]], device="meta")
                if key == "params":
                    tensor = nn.Parameter(tensor, requires_grad=False)
                if "id" in t:
                    objects[t["id"]] = tensor
            if key == "params":
                module.register_parameter(t["name"], tensor)
            else:
                module.register_buffer(t["name"], tensor, persistent=t.get("persistent", True))
    for name, child in node.get("children", []):
        module.add_module(name, build(child, objects, modules, f"{path}.{name}" if path else name, shared))
    return module


def dump(module, ids=None, seen=None, path=""):
    """The NODE of an nn.Module."""
    ids = {} if ids is None else ids
    seen = {} if seen is None else seen
    node = {"class": type(module).__name__}
    if id(module) in seen:
        node["same_module_object_as"] = seen[id(module)]
    else:
        seen[id(module)] = path
    for key, tensors in (("params", module._parameters), ("buffers", module._buffers)):
        rows = []
        for name, t in tensors.items():
            if t is None:
                continue
            row = {"name": name, "shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch."),
                   "id": ids.setdefault(id(t), len(ids))}
            if key == "buffers" and name in module._non_persistent_buffers_set:
                row["persistent"] = False
            rows.append(row)
        if rows:
            node[key] = rows
    children = [[name, dump(child, ids, seen, f"{path}.{name}" if path else name)]
                for name, child in module._modules.items() if child is not None]
    if children:
        node["children"] = children
    return node


def walk(node, path=""):
    """(path, NODE), a module before its children."""
    yield path, node
    for name, child in node.get("children", []):
        yield from walk(child, f"{path}.{name}" if path else name)


def parameter_names(root):
    return [f"{path}.{t['name']}" if path else t["name"] for path, node in walk(root) for t in node.get("params", [])]


def by_first_name(groups, order):
    """Groups in the order we fix: by their first names on the walk."""
    position = {name: i for i, name in enumerate(order)}
    return sorted(groups, key=lambda group: min(position[name] for name in group))


# ---- the reference

class Log:
    """Stands in for the libraries' loggers."""

    def __init__(self):
        self.lines = []

    def info(self, line, *rest):
        self.lines.append(line)

    warning = info
    warning_once = info


class Endless(Exception):
    pass


def on_alarm(signum, frame):
    raise Endless()


def device_key(key):
    return int(key) if key.lstrip("-").isdigit() else key


def reference(case, model=None):
    """What the libraries answer, for `model` if there is a real one for the case's tree."""
    try:
        signal.setitimer(signal.ITIMER_REAL, 5)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            return run_reference(case, caught, model)
    except Endless:
        return {"error": "endless"}
    except Exception as error:  # whatever Python raises is the result
        return {"error": type(error).__name__}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def run_reference(case, caught, model):
    root = case["tree"]["root"]
    transformers = case.get("rules") == "transformers"
    real = model is not None
    model = model if real else build(root, {}, {}, "", not transformers)
    names = parameter_names(root)
    budgets = {device_key(k): v for k, v in case["max_memory"].items()}
    no_split = case.get("no_split", [])
    strategy = case.get("strategy", "sequential")
    log = Log()
    result = {}
    if transformers:
        tf.logger = log
        groups = case["tree"].get("tied_groups", [])
        if not real:
            model.all_tied_weights_keys = {alias: group[0] for group in groups for alias in group[1:]}
        sizes = tf.compute_module_sizes(model, only_modules=False)[0]
        if strategy == "sequential":
            budgets = tf.get_max_memory(budgets)
        else:
            budgets = tf.get_balanced_memory(model, budgets, no_split, low_zero=strategy == "balanced_low_0")
        ties = by_first_name([sorted(group) for group in groups], names)
        infer = lambda memory: tf.infer_auto_device_map(
            model, memory, no_split, clean_result=case.get("clean", True),
            offload_buffers=case.get("offload_buffers", False), tied_parameters=ties)
    else:
        hf.logger = log
        hf.find_tied_parameters = lambda m: by_first_name(FIND(m), names)
        dtypes = {"dtype": SPECIAL[case["dtype"]] if "dtype" in case else None,
                  "special_dtypes": {k: SPECIAL[v] for k, v in case["special"].items()} if "special" in case else None}
        sizes = hf.compute_module_sizes(model, **dtypes)
        if strategy == "sequential":
            budgets = hf.get_max_memory(budgets)
        else:
            budgets = hf.get_balanced_memory(model, budgets, no_split, low_zero=strategy == "balanced_low_0", **dtypes)
        infer = lambda memory: hf.infer_auto_device_map(
            model, memory, no_split, clean_result=case.get("clean", True),
            offload_buffers=case.get("offload_buffers", False),
            fallback_allocation=case.get("fallback", False), **dtypes)
    result["sizes"] = [[name, repr(size)] for name, size in sizes.items()]
    result["budgets"] = [[str(device), repr(value)] for device, value in budgets.items()]
    result["map"] = {name: str(device) for name, device in infer(budgets).items()}
    result["skipped"] = []
    texts = log.lines + [str(w.message) for w in caught]
    for text in texts:
        if text.startswith("Based on the current allocation"):
            for line in text.splitlines():
                if line.startswith("  - "):
                    device, rest = line[4:].split(": ")
                    result["skipped"].append([device, rest.removesuffix(" bytes required")])
        if text.startswith("Current model requires"):
            result["homeless"] = text.split()[3]
    apart = sum(text.startswith("Tied parameters are on different") for text in texts)
    if apart:
        result["ties_apart"] = apart
    return result


FIND = hf.find_tied_parameters


# ---- random cases

class RandomTree:
    CLASSES = ["Block", "Layer", "Attention", "MLP", "Linear", "Norm", "Stage", "Parameter", "Tensor"]
    NAMES = ["0", "1", "10", "layer", "my", "layers", "a", "b", "embed", "head", "weight", "x", "norm", "h"]

    def __init__(self, rng, transformers):
        self.rng = rng
        self.transformers = transformers
        self.next_id = 0
        self.params = []     # (id, shape, dtype) to tie to
        self.buffers = []
        self.paths = []      # (path, node) of complete modules
        self.big = rng.choice([8, 64, 64, 1000])
        self.tie_chance = rng.choice([0, 0.03, 0.1, 0.3])
        self.share_chance = 0 if transformers else rng.choice([0, 0, 0, 0.05])
        self.buffer_chance = rng.choice([0, 0.1, 0.4])
        self.dtypes = rng.choice([["float32"], ["float16"], ["bfloat16", "float32"], ["float16", "int8", "uint8"],
                                  ["float32", "bool", "int64"], list(DTYPES)])

    def tensor(self, name, known, tie_chance):
        rng = self.rng
        if known and rng.random() < tie_chance:
            number, shape, dtype = rng.choice(known)
        else:
            number, self.next_id = self.next_id, self.next_id + 1
            size = 0 if rng.random() < 0.02 else rng.randint(1, self.big) if rng.random() < 0.9 else self.big * 8
            shape = rng.choice([[size], [size, 1], [1, size], [size, 2]])
            dtype = rng.choice(self.dtypes)
            known.append((number, shape, dtype))
        return {"name": name, "shape": shape, "dtype": dtype, "id": number}

    def module(self, depth, path):
        rng = self.rng
        if self.paths and rng.random() < self.share_chance:
            source, node = rng.choice(self.paths)
            return dict(node, same_module_object_as=source)
        node = {"class": rng.choice(self.CLASSES)}
        leaf = depth == 0 or rng.random() < 0.25
        tie = 0 if self.transformers else self.tie_chance
        count = rng.choice([0, 1, 1, 2, 3]) if leaf else rng.choice([0, 0, 0, 1, 2])
        names = rng.sample(["weight", "bias", "scale", "0", "w"], count)
        node["params"] = [self.tensor(name, self.params, tie) for name in names]
        if rng.random() < self.buffer_chance:
            node["buffers"] = [dict(self.tensor(name, self.buffers, 0.1), persistent=rng.random() < 0.6)
                               for name in rng.sample(["inv_freq", "mask", "mean"], rng.randint(1, 2))]
        if not leaf:
            taken = set(names) | {t["name"] for t in node.get("buffers", [])}
            choices = [n for n in self.NAMES if n not in taken]
            children = rng.sample(choices, min(len(choices), rng.choice([1, 2, 2, 3, 4, 6])))
            node["children"] = [[name, self.module(depth - 1, f"{path}.{name}" if path else name)]
                                for name in children]
        if path:
            self.paths.append((path, node))
        return node

    def tree(self):
        root = self.module(self.rng.choice([1, 2, 3, 4]), "")
        root.pop("same_module_object_as", None)
        tree = {"root": root}
        if self.transformers:
            free = parameter_names(root)
            self.rng.shuffle(free)
            groups = []
            while len(free) > 2 and self.rng.random() < self.tie_chance * 3:
                size = self.rng.randint(2, min(4, len(free)))
                groups.append([free.pop() for _ in range(size)])
            tree["tied_groups"] = groups
            tensors = {f"{path}.{t['name']}" if path else t["name"]: t
                       for path, node in walk(root) for t in node.get("params", [])}
            for group in groups:
                for alias in group[1:]:
                    tensors[alias].update(shape=tensors[group[0]]["shape"], dtype=tensors[group[0]]["dtype"])
        return tree


def random_case(seed):
    rng = random.Random(seed)
    transformers = rng.random() < 0.4
    tree = RandomTree(rng, transformers).tree()
    root = tree["root"]
    tensors = [(f"{path}.{t['name']}" if path else t["name"], t) for path, node in walk(root)
               for key in ("params", "buffers") for t in node.get(key, [])]
    total = sum(max(1, torch.Size(t["shape"]).numel()) * DTYPES[t["dtype"]].itemsize for _, t in tensors)
    case = {"tree": tree, "max_memory": {}}
    gpus = list(range(rng.choice([0, 1, 1, 2, 2, 3, 4])))
    if rng.random() < 0.1:
        gpus = rng.sample(range(-1, 6), len(gpus))
    devices = gpus + [d for d, chance in (("cpu", 0.8), ("disk", 0.1), ("mps", 0.05)) if rng.random() < chance]
    rng.shuffle(devices)
    for device in devices:
        value = int(total * rng.choice([0, 0.1, 0.25, 0.4, 0.6, 1, 1.5, 4]) * rng.random())
        if rng.random() < 0.05:
            value = rng.choice([0, -5, float(value), f"{max(1, value)}e-3KB", "1GiB"])
        case["max_memory"][str(device)] = value
    case["strategy"] = rng.choice(["sequential", "auto", "balanced", "balanced_low_0"])
    if rng.random() < 0.7:
        case["no_split"] = rng.sample(RandomTree.CLASSES, rng.randint(1, 3))
    if transformers:
        case["rules"] = "transformers"
    else:
        if rng.random() < 0.3:
            case["dtype"] = rng.choice(["float16", "float64", "int8", "int4", "float32"])
        if rng.random() < 0.2 and tensors:
            case["special"] = {rng.choice(tensors)[0]: rng.choice(list(SPECIAL)) for _ in range(3)}
        if rng.random() < 0.25:
            case["fallback"] = True
    if rng.random() < 0.2:
        case["clean"] = False
    if rng.random() < 0.2:
        case["offload_buffers"] = True
    return case


# ---- real architectures, few layers of full width

def real_models():
    import transformers as t
    small = dict(num_hidden_layers=4)
    configs = [
        ("llama-3-8b", t.LlamaConfig(vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_attention_heads=32,
                                     num_key_value_heads=8, **small)),
        ("llama-3.2-1b", t.LlamaConfig(vocab_size=128256, hidden_size=2048, intermediate_size=8192, num_attention_heads=32,
                                       num_key_value_heads=8, tie_word_embeddings=True, **small)),
        ("qwen3-0.6b", t.Qwen3Config(vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_attention_heads=16,
                                     num_key_value_heads=8, head_dim=128, tie_word_embeddings=True, **small)),
        ("mixtral", t.MixtralConfig(**small)),
        ("gpt2", t.GPT2Config(n_layer=4)),
        ("gptj", t.GPTJConfig(n_layer=3)),
        ("gpt_neox", t.GPTNeoXConfig(**small)),
        ("opt", t.OPTConfig(hidden_size=2048, ffn_dim=8192, num_attention_heads=32, word_embed_proj_dim=512, **small)),
        ("bloom", t.BloomConfig(hidden_size=1024, n_layer=4, n_head=16)),
        ("falcon", t.FalconConfig(num_hidden_layers=3)),
        ("gemma2", t.Gemma2Config(num_hidden_layers=3)),
        ("t5", t.T5Config(num_layers=2, num_decoder_layers=2)),
        ("whisper", t.WhisperConfig(encoder_layers=2, decoder_layers=2)),
    ]
    for name, config in configs:
        kind = {"t5": t.T5ForConditionalGeneration, "whisper": t.WhisperForConditionalGeneration}.get(name)
        torch.set_default_dtype(torch.bfloat16)
        try:
            with torch.device("meta"):
                model = kind(config) if kind else t.AutoModelForCausalLM.from_config(config)
        finally:
            torch.set_default_dtype(torch.float32)
        model.tie_weights()
        keys = model.all_tied_weights_keys
        groups = [[source] + [k for k, v in keys.items() if v == source] for source in dict.fromkeys(keys.values())]
        yield name, model, {"root": dump(model), "tied_groups": groups}


def real_cases():
    """(label, case, model): every model with several budgets, strategies and rules."""
    for name, model, tree in real_models():
        total = sum(t.numel() * t.element_size() for t in model.parameters())
        classes = sorted(model._no_split_modules or [])
        budgets = [{"0": total}, {"0": total // 2, "cpu": total}, {"0": total * 4, "1": total * 4, "cpu": total},
                   {"0": total // 3, "1": total, "2": total // 4, "cpu": total // 8}, {"0": total // 8, "cpu": total // 3}]
        for rules in ("accelerate", "transformers"):
            for i, budget in enumerate(budgets):
                for strategy in ("auto", "balanced_low_0", "sequential"):
                    for no_split in ([], classes) if i < 2 else (classes,):
                        yield name, {"tree": tree, "rules": rules, "strategy": strategy, "max_memory": budget,
                                     "no_split": no_split}, model


# ---- goldens: {"name", "tree", "cases": [{…, "want"}]}, one tree per line

def write_goldens(folder):
    groups = {}
    for name, case, model in real_cases():
        groups.setdefault(name, []).append((case, reference(case, model)))
    lines = [golden_line(name, rows) for name, rows in groups.items()]
    seed, picked = 500_000, 0
    while picked < 60:
        seed += 1
        case = random_case(seed)
        if len(json.dumps(case["tree"])) > 2500:
            continue
        want = reference(case)
        if want.get("error") == "endless" or (want.get("error") and picked % 3):
            continue
        lines.append(golden_line(f"seed {seed}", [(case, want)]))
        picked += 1
    with open(f"{folder}/device_maps.jsonl", "w") as file:
        file.write("".join(line + "\n" for line in lines))


def golden_line(name, rows):
    cases = [{**{k: v for k, v in case.items() if k != "tree"}, "want": {k: v for k, v in want.items() if k != "sizes"}}
             for case, want in rows]
    return json.dumps({"name": name, "tree": rows[0][0]["tree"], "cases": cases}, separators=(",", ":"))


# ---- comparison

class Ours:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, case):
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"our side ended on {json.dumps(case)}")
        result = json.loads(line)
        if "does not end" in result.get("error", ""):
            result["error"] = "endless"
        return result


class Plan:
    """The `plan` tool on a module tree file: {"map"} or {"error"}. None: it refuses a model without parameters."""

    def __init__(self, program, folder):
        self.program, self.file = program, f"{folder}/tree.modules.json"

    def __call__(self, case):
        if "int4" == case.get("dtype") or not parameter_names(case["tree"]["root"]):
            return None
        with open(self.file, "w") as file:
            json.dump(case["tree"] | {"root": without_copies(case["tree"]["root"])}, file)
        command = [self.program, "--model", self.file, "--strategy", f"device-map:{case['strategy']}", "--emit",
                   "device-map", "--rules", case.get("rules", "accelerate"), "--max-memory",
                   json.dumps(case["max_memory"]), "--no-split", ",".join(case.get("no_split", []))]
        command += ["--dtype", case["dtype"]] if "dtype" in case else []
        for name, dtype in case.get("special", {}).items():
            command += ["--special-dtype", f"{name}={dtype}"]
        flags = {"--fallback": case.get("fallback"), "--no-clean": not case.get("clean", True),
                 "--offload-buffers": case.get("offload_buffers")}
        run = subprocess.run(command + [flag for flag, on in flags.items() if on], capture_output=True, text=True)
        if run.returncode == 0:
            return {"map": {name: str(device) for name, device in json.loads(run.stdout).items()}}
        return {"error": "endless" if "does not end" in run.stderr else run.stderr.rstrip(")\n").rpartition("(")[2]}


def without_copies(node):
    """As dump_modules.py writes it: the second place of a module has no contents."""
    if "same_module_object_as" in node:
        return {key: node[key] for key in ("class", "same_module_object_as")}
    return dict(node, children=[[name, without_copies(child)] for name, child in node.get("children", [])])


def compare(ours, cases):
    count, differences, errors, rules = 0, 0, {}, {}
    for label, case, model in cases:
        want, got = reference(case, model), ours(case)
        if got is None:
            continue
        count += 1
        if isinstance(ours, Plan):
            want = {key: want[key] for key in ("map", "error") if key in want}
        rules[case.get("rules", "accelerate")] = rules.get(case.get("rules", "accelerate"), 0) + 1
        if "error" in want:
            errors[want["error"]] = errors.get(want["error"], 0) + 1
        if want != got:
            differences += 1
            if differences <= 3:
                print(f"{label} differs", *(f"\n  {key}\n    want {str(want.get(key))[:600]}\n    got  {str(got.get(key))[:600]}"
                                            for key in sorted(want.keys() | got.keys())
                                            if want.get(key) != got.get(key)), "\n ", json.dumps(case)[:3000])
    print(f"{count} cases {rules}, {differences} differences; Python raised in {sum(errors.values())} of them {errors}")
    return differences


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours")
    parser.add_argument("--plan")
    parser.add_argument("--trees", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--goldens")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, on_alarm)
    if options.goldens:
        write_goldens(options.goldens)
        return 0
    ours = Plan(options.plan, tempfile.mkdtemp()) if options.plan else Ours(options.ours)
    if options.real:
        return 1 if compare(ours, real_cases()) else 0
    cases = ((f"seed {seed}", random_case(seed), None) for seed in range(options.seed, options.seed + options.trees))
    return 1 if compare(ours, cases) else 0


if __name__ == "__main__":
    sys.exit(main())
