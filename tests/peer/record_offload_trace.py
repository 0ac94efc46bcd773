#!/usr/bin/env python3
"""Record what diffusers' group offloading and accelerate's model offload do around a transformers model: a prefill, then decode passes, without a GPU.

    record_offload_trace.py RECORDER CONFIG_DIR MODE [--tokens 8] [--passes 2] [--batch 1] [--dtype bfloat16] [--base] --out TRACE.json

RECORDER is the pipelines' recorder (record_diffusers_trace.py), whose dummies for streams, pinned memory and files are used. MODE is written as the
strategies write it: "model-offload" or "group-offload:block:1:stream". --base builds the class without a head. Output: JSON as that recorder's, with one phase per
pass: load, attach (the hooks), pass 0, pass 1, …, end.
"""
import argparse
import importlib.util
import json
import os
import sys
import tempfile


def load_recorder(path):
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec = importlib.util.spec_from_file_location("record_diffusers_trace", path)
    recorder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recorder)
    return recorder


def flash_attention(torch, recorder):
    """As the language models' recorder has it: the output in the query's layout, and the log-sum-exp."""

    def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        batch, heads, tokens, _ = query.shape
        out = torch.empty((batch, tokens, heads, value.shape[-1]), dtype=query.dtype, device=query.device).transpose(1, 2)
        torch.empty((batch, heads, tokens), dtype=torch.float32, device=query.device)
        return out

    torch.nn.functional.scaled_dot_product_attention = attention


def dummy_files(torch, recorder):
    """As the pipelines' recorder's, but a file is read tensor by tensor, and on its way to the device only one is on the host, as safetensors does it."""
    import safetensors.torch

    files = {}

    def save_file(tensors, path, metadata=None):
        files[path] = {k: (t.shape, t.dtype) for k, t in tensors.items()}
        open(path, "w").close()

    def load_file(path, device="cpu"):
        out = {}
        for key, (shape, dtype) in files[path].items():
            tensor = torch.empty(shape, dtype=dtype, device="cpu")
            recorder.add("read", tensor.numel() * tensor.element_size())
            out[key] = tensor if str(device) == "cpu" else tensor.to(device)
            del tensor
        return out

    safetensors.torch.save_file, safetensors.torch.load_file = save_file, load_file


def attach(torch, model, mode, disk):
    """The hooks. Returns what ends them: a call, or None."""
    device = torch.device("cuda:0")
    if mode == "model-offload":
        import accelerate

        hook = accelerate.cpu_offload_with_hook(model, device)[1]
        return hook.offload
    from diffusers.hooks import apply_group_offloading

    name, level, *words = mode.split(":")
    assert name == "group-offload", mode
    options = {"offload_type": level + "_level"}
    if level == "block":
        options["num_blocks_per_group"] = int(words.pop(0))
    for word, option in (("stream", "use_stream"), ("record_stream", "record_stream"), ("low_cpu_mem", "low_cpu_mem_usage")):
        options[option] = word in words
    if "disk" in words:
        options["offload_to_disk_path"] = disk
    apply_group_offloading(model, onload_device=device, offload_device=torch.device("cpu"), **options)
    return None


def record(pipelines, args):
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    recorder = pipelines.Recorder()
    pipelines.settable_data()
    flash_attention(torch, recorder)
    pipelines.dummy_streams(recorder)
    pipelines.dummy_pinning(recorder)
    dummy_files(torch, recorder)
    pipelines.let_accelerate_run(recorder)
    torch.cuda.get_device_capability = lambda device=None: (9, 0)
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), tempfile.TemporaryDirectory() as disk:
        with torch.device("cpu"):
            config = AutoConfig.from_pretrained(args.folder)
            model = (AutoModel if args.base else AutoModelForCausalLM).from_config(config, dtype=getattr(torch, args.dtype)).eval()
        with recorder:
            recorder.add("phase", "load")
            for tensor in [*model.parameters(), *model.buffers()]:
                recorder.watch(tensor, "weight")
            del tensor
            recorder.add("phase", "attach")
            offload = attach(torch, model, args.mode, disk)
            for path, module in model.named_modules() if args.modules else ():
                module.register_forward_pre_hook(lambda m, a, p=path: recorder.add(">", p))
                module.register_forward_hook(lambda m, a, o, p=path: recorder.add("<", p))
            past = None
            for number in range(args.passes + 1):
                recorder.add("phase", f"pass {number}")
                shape = (args.batch, 1 if number else args.tokens)
                output = model(torch.zeros(shape, dtype=torch.long, device="cuda"), past_key_values=past, use_cache=True)
                past = output.past_key_values
                del output
            recorder.add("phase", "end")
            if offload:
                offload()
                recorder.add("phase", "gone")
    import accelerate
    import diffusers
    import transformers

    versions = {m.__name__: m.__version__.split("+")[0] for m in (torch, transformers, accelerate, diffusers)}
    return {"request": vars(args), "versions": versions, "events": recorder.events}


def arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recorder")
    parser.add_argument("folder", help="folder with config.json")
    parser.add_argument("mode")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--passes", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--base", action="store_true")
    parser.add_argument("--modules", action="store_true", help="write down entries and exits of modules")
    parser.add_argument("--out", required=True)
    return parser.parse_args(argv)


def main():
    args = arguments()
    trace = record(load_recorder(args.recorder), args)
    with open(args.out, "w") as file:
        json.dump(trace, file)


if __name__ == "__main__":
    main()
