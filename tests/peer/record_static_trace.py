#!/usr/bin/env python3
"""Records what PyTorch allocates while a causal model runs over transformers' StaticCache.

    record_static_trace.py RECORDER MAX [the recorder's arguments]

RECORDER is record_torch_trace.py, which does the recording: its model is given StaticCache(config, max_cache_len=MAX) where it is given
no cache. Of a decode step the counters of the layers are there beforehand, as their keys and values are. Output: as the recorder's.
"""
import sys
import weakref

from record_encoder_trace import load


def give_static_cache(peer, positions):
    """Builds the model with a hook that makes the cache, so that the recorder's own calls are what runs."""
    from transformers import StaticCache

    build, made = peer.build, []

    def add_cache(model, args, kwargs):
        if kwargs.get("past_key_values") is None:
            kwargs["past_key_values"] = StaticCache(model.config, max_cache_len=positions)
            made.append(weakref.ref(kwargs["past_key_values"]))  # the output alone holds it
        elif model.config.model_type == "opt":  # asks for the count as a number, which the recorder's tensors do not have
            past = kwargs["past_key_values"].seen
            kwargs["past_key_values"].get_seq_length = lambda layer_idx=0: past
        kwargs["past_key_values"].seen = args[0].shape[-1]
        return args, kwargs

    def build_with_cache(folder, dtype):
        model = build(folder, dtype)
        model.register_forward_pre_hook(add_cache, with_kwargs=True)
        return model

    def adopt(recorder, tensors, name):
        for layer in made[-1]().layers:
            for tensor in (layer.keys, layer.values, layer.cumulative_length):
                recorder.watch(tensor, name)

    peer.build, peer.Recorder.adopt = build_with_cache, adopt


def main():
    peer = load(sys.argv[1])
    give_static_cache(peer, int(sys.argv[2]))
    sys.argv = [sys.argv[1], *sys.argv[3:]]
    peer.main()


if __name__ == "__main__":
    main()
