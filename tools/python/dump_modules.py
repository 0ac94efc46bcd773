"""Writes the module tree of a torch.nn.Module as X.modules.json, which stowage accepts as a model.

    python tools/python/dump_modules.py CONFIG_FOLDER -o model.modules.json     (CONFIG_FOLDER: with a config.json)

or, from Python, for any module:

    from dump_modules import write
    with torch.device("meta"):
        model = MyModel()
    write(model, "model.modules.json", no_split_modules=["MyBlock"])

The file holds the modules in registration order with their parameters and buffers (name, shape, dtype, an id that equal
storage shares), the tied groups and the no-split classes (the model's _no_split_modules when none are given). A module
that is registered twice is written once; its second place says "same_module_object_as". Nothing is downloaded and no
weight is read: the command builds the model on the meta device.
"""

import argparse
import json
import os
import sys


def _tensor(name, tensor, ids):
    return {"name": name, "shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch."),
            "id": ids.setdefault(id(tensor), len(ids))}


def _node(module, path, ids, seen):
    node = {"class": type(module).__name__}
    if id(module) in seen:
        node["same_module_object_as"] = seen[id(module)]
        return node
    seen[id(module)] = path
    params = [_tensor(k, p, ids) for k, p in module._parameters.items() if p is not None]
    buffers = [_tensor(k, b, ids) | {"persistent": k not in module._non_persistent_buffers_set}
               for k, b in module._buffers.items() if b is not None]
    children = [[k, _node(m, path + "." + k if path else k, ids, seen)]
                for k, m in module._modules.items() if m is not None]
    for key, value in (("params", params), ("buffers", buffers), ("children", children)):
        if value:
            node[key] = value
    return node


def _tied_groups(module):
    names = {}
    for name, tensor in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(tensor), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def dump(module, no_split_modules=None):
    """The tree of `module` as a dict of the file's form."""
    if no_split_modules is None:
        no_split_modules = getattr(module, "_no_split_modules", None) or []
    return {"root": _node(module, "", {}, {}), "tied_groups": _tied_groups(module),
            "no_split_modules": sorted(no_split_modules)}


def write(module, path, no_split_modules=None):
    with open(path + ".part", "w") as f:
        json.dump(dump(module, no_split_modules), f)
        f.write("\n")
    os.replace(path + ".part", path)


def build(config, dtype=None):
    """The class that config["architectures"][0] names, on the meta device; the causal model (or the base model) of the
    model_type when it names none. `config`: the dict of a config.json."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    settings = {k: v for k, v in config.items() if k != "model_type"}
    made = transformers.AutoConfig.for_model(config["model_type"], **settings)
    dtype = dtype or config.get("dtype") or config.get("torch_dtype") or "float32"
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device("meta"):
            names = config.get("architectures")
            if names:
                model = getattr(transformers, names[0])(made)
            else:
                causal = type(made) in transformers.AutoModelForCausalLM._model_mapping
                model = (transformers.AutoModelForCausalLM if causal else transformers.AutoModel).from_config(made)
    finally:
        torch.set_default_dtype(before)
    model.tie_weights()
    return model


def main():
    parser = argparse.ArgumentParser(description="Writes a model's module tree for stowage (see the top of this file).")
    parser.add_argument("config", help="a folder with config.json, or the file itself")
    parser.add_argument("-o", "--out", required=True, help="the file to write: X.modules.json")
    parser.add_argument("--dtype", help="float32, bfloat16, ... (default: what the config says)")
    args = parser.parse_args()
    path = args.config if os.path.isfile(args.config) else os.path.join(args.config, "config.json")
    with open(path) as f:
        config = json.load(f)
    write(build(config, args.dtype), args.out)


if __name__ == "__main__":
    sys.exit(main())
