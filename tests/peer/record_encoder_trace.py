#!/usr/bin/env python3
"""Records what PyTorch allocates for the models that record_torch_trace.py does not run: T5, ViT, Whisper, and CLIP's text
model with its projection. The recorder itself, its stand-in for fused attention and its hooks are imported from there.

    record_encoder_trace.py RECORDER CONFIG_DIR [--tokens 512] [--past 0] [--prompt N] [the recorder's other options]

The class is the first of the config's architectures. Inputs: T5's encoder, CLIP: ids [batch, tokens]. ViT: pixels of the config's size,
--tokens is not asked. T5 with its decoder: --tokens ids for the encoder, one for the decoder. Whisper: mel features [batch, bins,
2 max_source_positions] and --tokens ids for the decoder. With --past one decoder step over the caches of self and cross attention, the
encoder's output given: of T5 for a prompt of --prompt ids (--past, if it is not given).
Output: as the recorder's.
"""
import argparse
import collections
import importlib.util
import json
import sys


def load(path):
    spec = importlib.util.spec_from_file_location("record_torch_trace", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def model_class(config):
    import transformers

    return getattr(transformers, config.architectures[0])


T5 = ("t5", "mt5", "umt5")


class Inputs:
    """What a pass is given; made anew for each, as the caller of the recorder makes its ids."""

    def __init__(self, config, dtype, args):
        import torch

        self.config, self.args = config, args
        self.ids = lambda count: torch.zeros((args.batch, count), dtype=torch.long, device="cuda")
        self.zeros = lambda *shape: torch.zeros((args.batch, *shape), dtype=dtype, device="cuda")

    def run(self, model):
        config, args = self.config, self.args
        if config.model_type == "vit":
            return model(self.zeros(config.num_channels, config.image_size, config.image_size))
        if config.model_type == "whisper":
            features = self.zeros(config.num_mel_bins, 2 * config.max_source_positions)
            return model(features, decoder_input_ids=self.ids(args.past or args.tokens), use_cache=True)
        if config.model_type in T5 and not config.architectures[0].endswith("EncoderModel"):
            return model(self.ids((args.prompt or args.past) if args.past else args.tokens), decoder_input_ids=self.ids(args.past or 1), use_cache=True)
        return model(self.ids(args.tokens))

    def step(self, model, encoder_outputs, past):
        return model(encoder_outputs=encoder_outputs, decoder_input_ids=self.ids(1), past_key_values=past, use_cache=True)


def keep_in_fp32(model, dtype):
    """What from_pretrained(dtype=) does while it loads, by the model's own list."""
    kept = model._get_dtype_plan(dtype)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        for pattern, wide in kept.items():
            if pattern in name:
                tensor.data = tensor.data.to(wide)


def run(recorder, model, inputs, past):
    """The recorded pass: the first one, or one decoder step over the caches that a first one of `past` decoder positions leaves."""
    import transformers

    if not past:
        with recorder:
            return inputs.run(model)
    first = inputs.run(model)
    past, encoded = first.past_key_values, transformers.modeling_outputs.BaseModelOutput(first.encoder_last_hidden_state)
    del first
    recorder.events.clear()  # marks of the first pass, whose encoder the step does not run
    recorder.adopt([encoded.last_hidden_state], "past")
    for own, cross in zip(past.self_attention_cache.layers, past.cross_attention_cache.layers):
        recorder.adopt([own.keys, own.values, cross.keys, cross.values], "past")
    recorder.held = past, encoded  # beyond the pass
    with recorder:
        return inputs.step(model, encoded, past)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recorder", help="record_torch_trace.py")
    parser.add_argument("folder", help="folder with config.json")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--past", type=int, default=0)
    parser.add_argument("--prompt", type=int, default=0)
    parser.add_argument("--offload", choices=["none", "sequential"], default="none")
    parser.add_argument("--loaded", action="store_true", help="some weights in fp32, as from_pretrained keeps them")
    parser.add_argument("--modules", action="store_true")
    parser.add_argument("--out", default="-")
    args = parser.parse_args()

    import torch
    import transformers
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers.initialization import no_init_weights

    peer = load(args.recorder)
    torch.nn.functional.scaled_dot_product_attention = peer.flash_attention
    recorder = peer.Recorder()
    home = "cpu" if args.offload == "sequential" else "cuda"
    dtype = getattr(torch, args.dtype)
    config = transformers.AutoConfig.from_pretrained(args.folder)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        with torch.device(home), no_init_weights():
            model = model_class(config)._from_config(config, dtype=dtype).eval()  # ViT's initialization reads numbers out of tensors
        model.tie_weights()  # which the initialization would have done
        if args.loaded:
            keep_in_fp32(model, dtype)
        weights = sum(t.untyped_storage().nbytes() for t in {id(t): t for t in [*model.parameters(), *model.buffers()]}.values())
        if args.offload == "sequential":
            import accelerate

            peer.let_hooks_run(recorder)
            accelerate.cpu_offload(model, execution_device=torch.device("cuda:0"))
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.device.type == "cuda":
                recorder.live[tensor.untyped_storage()._cdata] = 0
        if args.modules:
            for path, module in model.named_modules():
                module.register_forward_pre_hook(lambda m, a, path=path: recorder.events.append([f"> {path}", 0]))
                module.register_forward_hook(lambda m, a, o, path=path: recorder.events.append([f"< {path}", 0]))
        output = run(recorder, model, Inputs(config, dtype, args), args.past)
        kept = recorder.now
        del output
    result = {
        "model": args.folder, "request": {k: v for k, v in vars(args).items() if k not in ("recorder", "folder", "out")},
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "parameters_bytes": weights, "kept_bytes": kept, "peak_live_bytes": recorder.peak, "peak_rounded_bytes": recorder.peak_rounded,
        "operators": dict(collections.Counter(name for name, size in recorder.events if size > 0)), "events": recorder.events,
    }
    if args.out == "-":
        print(json.dumps(result))
    else:
        with open(args.out, "w") as file:
            json.dump(result, file)
    print(f"{len(recorder.events)} events, peak {recorder.peak / 2**20:.2f} MiB, kept {kept / 2**20:.2f} MiB", file=sys.stderr)


if __name__ == "__main__":
    main()
