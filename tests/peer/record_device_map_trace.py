#!/usr/bin/env python3
"""What torch allocates on GPUs while a model runs that accelerate's dispatch_model has spread over them and the cpu.

    record_device_map_trace.py RECORDER CONFIG_DIR --device-map MAP.json --tokens 512 [--past 512] [--dtype bfloat16] [--batch 1] [--modules] [--static MAX] [--out FILE]

RECORDER is record_torch_trace.py, on which this builds (of T5 and Whisper, record_encoder_trace.py, whose --prompt there is here too); MAP.json is accelerate's device map with GPUs and "cpu" as values. Instead of a map, --shares
0.4,0.3 has accelerate infer one from GPUs with such shares of the model's size. --static: over a StaticCache of MAX positions. What is not on GPU 0 is noted as "mm.default@1". The model is fake, so data_ptr(), by which accelerate tells tied parameters apart, is replaced by the identity of the storage.
"""
import argparse
import importlib.util
import json
import os

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode


def recorder_module(path):
    spec = importlib.util.spec_from_file_location("record_torch_trace", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def place(model, device_map):
    """Moves what the map puts on a GPU there, as from_pretrained would have loaded it. Ties survive."""
    moved = {}
    for path, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                full = f"{path}.{name}" if path else name
                key = max((k for k in device_map if k == "" or full == k or full.startswith(k + ".")), key=len)
                if device_map[key] == "cpu":
                    continue
                if id(tensor) not in moved:
                    there = torch.empty(tensor.shape, dtype=tensor.dtype, device=f"cuda:{device_map[key]}")
                    moved[id(tensor)] = torch.nn.Parameter(there, requires_grad=False) if isinstance(tensor, torch.nn.Parameter) else there
                tensors[name] = moved[id(tensor)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recorder")
    parser.add_argument("folder")
    parser.add_argument("--device-map")
    parser.add_argument("--shares")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--past", type=int, default=0)
    parser.add_argument("--prompt", type=int, default=0)
    parser.add_argument("--modules", action="store_true")
    parser.add_argument("--static", type=int, default=0)
    parser.add_argument("--out", default="/dev/stdout")
    args = parser.parse_args()
    base = recorder_module(args.recorder)
    others = recorder_module(os.path.join(os.path.dirname(os.path.abspath(__file__)), "record_encoder_trace.py"))

    import accelerate

    torch.nn.functional.scaled_dot_product_attention = base.flash_attention
    torch.cuda.get_device_capability = lambda device=None: (9, 0)

    class Recorder(base.Recorder):
        def watch(self, tensor, name):
            gpu = tensor.device.index if isinstance(tensor, torch.Tensor) and tensor.device.type == self.device else None
            super().watch(tensor, f"{name}@{gpu}" if gpu else name)

    recorder = Recorder()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        with torch.device("cpu"):
            import transformers

            config = transformers.AutoConfig.from_pretrained(args.folder)
            crossed = config.is_encoder_decoder
            if crossed:
                model = others.model_class(config)._from_config(config, dtype=getattr(torch, args.dtype)).eval()
                model.tie_weights()
            else:
                model = base.build(args.folder, getattr(torch, args.dtype))
        weights = sum(t.untyped_storage().nbytes() for t in {id(t): t for t in [*model.parameters(), *model.buffers()]}.values())
        if args.shares:
            budgets = {gpu: int(float(share) * weights) for gpu, share in enumerate(args.shares.split(","))} | {"cpu": 2 * weights}
            device_map = accelerate.infer_auto_device_map(model, max_memory=budgets, no_split_module_classes=model._no_split_modules)
        else:
            with open(args.device_map) as file:
                device_map = json.load(file)
        place(model, device_map)
        base.let_hooks_run(recorder)
        identity = lambda tensor: tensor.untyped_storage()._cdata
        FakeTensor.data_ptr = identity
        torch.nn.Parameter.data_ptr = identity
        accelerate.dispatch_model(model, device_map=device_map, main_device=0, skip_keys=getattr(model, "_skip_keys_device_placement", None))
        recorder.events.clear()  # a flush for each tensor that attaching the hooks has touched
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.device.type == "cuda":
                recorder.live[tensor.untyped_storage()._cdata] = 0
        if args.modules:
            for path, module in model.named_modules():
                module.register_forward_pre_hook(lambda m, a, path=path: recorder.events.append([f"> {path}", 0]))
                module.register_forward_hook(lambda m, a, o, path=path: recorder.events.append([f"< {path}", 0]))

        def ids(count):
            return torch.zeros((args.batch, count), dtype=torch.long, device="cuda:0")

        def cache():
            return {"past_key_values": transformers.StaticCache(model.config, max_cache_len=args.static)} if args.static else {}

        kwargs = {"use_cache": True}
        if crossed:
            output = others.run(recorder, model, others.Inputs(config, getattr(torch, args.dtype), args), args.past)
        elif args.past:
            past = model(ids(args.past), **kwargs, **cache()).past_key_values
            kwargs["past_key_values"] = past
            parts = lambda layer: (layer.keys, layer.values, layer.cumulative_length) if args.static else (layer.keys, layer.values)
            recorder.adopt([t for layer in past.layers for t in parts(layer)], "past")
            if args.static and config.model_type == "opt":  # asks for the count as a number, which fake tensors do not have
                past.get_seq_length = lambda layer_idx=0: args.past
        else:
            kwargs |= cache()
        if not crossed:
            with recorder:
                output = model(ids(args.tokens), **kwargs)
        kept = recorder.now
        kwargs.clear()
        del output
    result = {
        "request": {k: v for k, v in vars(args).items() if k not in ("recorder", "folder", "device_map", "shares", "out")} | {"offload": "dispatch"},
        "device_map": device_map,
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__, "accelerate": accelerate.__version__},
        "parameters_bytes": weights, "kept_bytes": kept, "peak_live_bytes": recorder.peak, "peak_rounded_bytes": recorder.peak_rounded,
        "events": recorder.events,
    }
    with open(args.out, "w") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
