#!/usr/bin/env python3
"""Makes the goldens of tests/goldens/torch_traces/families: what transformers' models of the families beyond Llama really allocate.

    make_family_traces.py RECORDER CONFIGS OUT [NAME ...]

Arguments as make_torch_traces.py's; CONFIGS also holds text_encoder folders of pipelines ("wan2.1-t2v-1.3b/text_encoder"). Encoders that
the recorder does not run are recorded with record_encoder_trace.py. A golden has the config itself in its header: tests build the model of it.
"""
import json
import os
import runpy
import sys
import tempfile
import traceback

from make_torch_traces import packed

LLAMA = {
    "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "num_hidden_layers": 3, "vocab_size": 320, "max_position_embeddings": 512,
}
MLA = {
    "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 40, "num_attention_heads": 4, "num_key_value_heads": 4,
    "num_hidden_layers": 3, "first_k_dense_replace": 1, "kv_lora_rank": 24, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12,
    "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 3, "vocab_size": 320, "max_position_embeddings": 512,
}
T5 = {
    "d_model": 48, "d_kv": 16, "d_ff": 80, "num_heads": 3, "num_layers": 3, "vocab_size": 320, "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 32,
}
SYNTHETIC = {
    "tiny-mixtral": LLAMA | {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2},
    "sliding-mixtral": LLAMA | {
        "architectures": ["MixtralModel"], "model_type": "mixtral", "num_local_experts": 5, "num_experts_per_tok": 1, "sliding_window": 6},
    "tiny-qwen3-moe": LLAMA | {
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "moe_intermediate_size": 24, "num_experts": 6, "num_experts_per_tok": 3,
        "mlp_only_layers": [1], "norm_topk_prob": True, "tie_word_embeddings": True},
    "tiny-gpt-oss": LLAMA | {
        "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 6},
    "one-head-gpt-oss": LLAMA | {
        "architectures": ["GptOssModel"], "model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 1, "sliding_window": 6,
        "num_key_value_heads": 1, "layer_types": ["full_attention", "sliding_attention", "full_attention"]},
    "tiny-llama4": LLAMA | {
        "architectures": ["Llama4ForCausalLM"], "model_type": "llama4_text", "intermediate_size_mlp": 128, "num_hidden_layers": 4,
        "num_local_experts": 4, "num_experts_per_tok": 2, "interleave_moe_layer_step": 2, "attention_chunk_size": 8},
    "tiny-deepseek-v2": MLA | {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "q_lora_rank": None},
    "grouped-deepseek-v2": MLA | {
        "architectures": ["DeepseekV2Model"], "model_type": "deepseek_v2", "q_lora_rank": 32, "topk_method": "group_limited_greedy", "n_group": 4,
        "topk_group": 2},
    "tiny-deepseek-v3": MLA | {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "q_lora_rank": 32, "n_group": 4, "topk_group": 2},
    "one-group-deepseek-v3": MLA | {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "q_lora_rank": None, "n_group": 1, "topk_group": 1,
        "rope_interleave": False, "norm_topk_prob": False, "attention_bias": True},
    "tiny-bert": {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 3, "num_hidden_layers": 3,
        "vocab_size": 320, "max_position_embeddings": 64, "hidden_act": "gelu"},
    "tiny-clip": {
        "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 3,
        "num_hidden_layers": 3, "vocab_size": 320, "max_position_embeddings": 64, "eos_token_id": 7},
    "projected-clip": {
        "architectures": ["CLIPTextModelWithProjection"], "model_type": "clip_text_model", "hidden_size": 48, "intermediate_size": 80,
        "num_attention_heads": 3, "num_hidden_layers": 2, "vocab_size": 320, "max_position_embeddings": 64, "eos_token_id": 2, "projection_dim": 40},
    "tiny-t5": T5 | {"architectures": ["T5EncoderModel"], "model_type": "t5", "feed_forward_proj": "relu"},
    "tiny-umt5": T5 | {"architectures": ["UMT5EncoderModel"], "model_type": "umt5", "feed_forward_proj": "gated-gelu"},
    "whole-t5": T5 | {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "feed_forward_proj": "relu", "num_decoder_layers": 2},
    "gated-t5": T5 | {
        "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "headless-t5": T5 | {"architectures": ["T5Model"], "model_type": "t5", "feed_forward_proj": "relu", "num_heads": 1},
    "whole-mt5": T5 | {"architectures": ["MT5ForConditionalGeneration"], "model_type": "mt5"},
    "whole-umt5": T5 | {"architectures": ["UMT5ForConditionalGeneration"], "model_type": "umt5", "num_decoder_layers": 4},
    "tiny-vit": {
        "architectures": ["ViTModel"], "model_type": "vit", "hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 3, "num_hidden_layers": 3,
        "image_size": 30, "patch_size": 7},
    "tiny-whisper": {
        "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "d_model": 48, "encoder_layers": 2, "decoder_layers": 3,
        "encoder_attention_heads": 3, "decoder_attention_heads": 4, "encoder_ffn_dim": 80, "decoder_ffn_dim": 72, "vocab_size": 320, "num_mel_bins": 10,
        "max_source_positions": 15, "max_target_positions": 64, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0,
        "decoder_start_token_id": 0},
}
OTHERS = ("t5", "mt5", "umt5", "vit", "whisper")  # model types of record_encoder_trace.py
SEQUENTIAL = {"offload": "sequential"}
LOADED = {"dtype": "float16", "loaded": True}


def of(model, prefill=12, past=12, **changes):
    """Prefill and decode, resident and offloaded, of a tiny model: the offloaded ones with other sizes."""
    return {
        f"{model}.prefill": (model, prefill, {"modules": True} | changes), f"{model}.prefill.sequential": (model, 5, SEQUENTIAL | {"batch": 2}),
        f"{model}.decode": (model, 1, {"past": past, "batch": 3}), f"{model}.decode.sequential": (model, 1, {"past": 3} | SEQUENTIAL),
    }


def crossed(model):
    """T5 with its decoder: the prompts of decode passes are those of the encoder."""
    return of(model) | {
        f"{model}.decode": (model, 1, {"past": 4, "prompt": 12, "batch": 3, "modules": True}),
        f"{model}.decode.sequential": (model, 1, {"past": 1, "prompt": 7} | SEQUENTIAL),
        f"{model}.decode.fp16": (model, 1, {"past": 3, "prompt": 1, "dtype": "float16"}),
        f"{model}.prefill.fp16": (model, 1, {"dtype": "float16"}),
        f"{model}.prefill.fp16.loaded": (model, 6, LOADED | {"modules": True}),
        f"{model}.decode.fp16.loaded": (model, 1, {"past": 3, "prompt": 5, "batch": 2} | LOADED),
    }


def resident(model, **changes):
    """gpt-oss: in offloaded recordings the order in which an expert layer's biases go differs from run to run."""
    return {name: golden for name, golden in of(model, **changes).items() if "sequential" not in name}


def encoder(model):
    return {
        f"{model}.prefill": (model, 12, {"modules": True}), f"{model}.prefill.sequential": (model, 5, SEQUENTIAL | {"batch": 2}),
        f"{model}.prefill.fp16": (model, 1, {"dtype": "float16"}),
    }


def full(model):
    return {f"{model}.prefill": (model, 512, {}), f"{model}.decode": (model, 1, {"past": 512})}


GOLDENS = {
    **of("tiny-mixtral"), **of("sliding-mixtral"), **full("mixtral-8x7b"), **of("tiny-qwen3-moe"), **full("qwen3-30b-a3b"), **resident("tiny-gpt-oss"),
    **resident("one-head-gpt-oss", batch=2), **full("gpt-oss-20b"), **of("tiny-llama4"), **full("llama-4-scout-17b-16e"), **of("tiny-deepseek-v2"),
    **of("grouped-deepseek-v2"), **of("tiny-deepseek-v3"), **of("one-group-deepseek-v3"), **full("deepseek-v3"),
    "tiny-mixtral.prefill.fp32": ("tiny-mixtral", 7, {"dtype": "float32"}), "tiny-deepseek-v3.decode.fp32": ("tiny-deepseek-v3", 1, {"past": 9, "dtype": "float32"}),
    "tiny-llama4.prefill.fp32": ("tiny-llama4", 20, {"dtype": "float32"}), "tiny-deepseek-v2.prefill.fp32": ("tiny-deepseek-v2", 4, {"dtype": "float32"}),
    **encoder("tiny-bert"), "bert-large-uncased.prefill": ("bert-large-uncased", 512, {}), **encoder("tiny-clip"), **encoder("projected-clip"),
    "openclip-bigg-text.prefill": ("openclip-bigg-text", 77, {}), **encoder("tiny-t5"), "t5-v1_1-xxl-encoder.prefill": ("t5-v1_1-xxl-encoder", 512, {}),
    **encoder("tiny-umt5"), "umt5-xxl.prefill": ("wan2.1-t2v-1.3b/text_encoder", 512, {}), **encoder("tiny-vit"),
    "vit-large-patch16-224.prefill": ("vit-large-patch16-224", 1, {}), **of("tiny-whisper"),
    **crossed("whole-t5"), **crossed("gated-t5"), **crossed("headless-t5"), **crossed("whole-mt5"), **crossed("whole-umt5"),
    "whisper-large-v3.prefill": ("whisper-large-v3", 4, {}), "whisper-large-v3.decode": ("whisper-large-v3", 1, {"past": 100}),
}


def run_script(command):
    """Runs a script in a child that starts with the libraries loaded: they take longer than most recordings."""
    import accelerate  # noqa: F401
    import transformers  # noqa: F401

    child = os.fork()
    if child == 0:
        sys.argv = command
        try:
            runpy.run_path(command[0], run_name="__main__")
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError(f"{' '.join(command)} failed")


def config_of(configs, model):
    if model in SYNTHETIC:
        return SYNTHETIC[model]
    path = os.path.join(configs, model)
    return json.load(open(path + ".json" if os.path.exists(path + ".json") else os.path.join(path, "config.json")))


def make(recorder, configs, out, name):
    model, tokens, changes = GOLDENS[name]
    config = config_of(configs, model)
    other = config["model_type"] in OTHERS or "WithProjection" in config["architectures"][0]
    script = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "record_encoder_trace.py"), recorder] if other else [recorder]
    with tempfile.TemporaryDirectory() as folder:
        json.dump(config, open(os.path.join(folder, "config.json"), "w"))
        command = [*script, folder, "--tokens", str(tokens), "--out", os.path.join(folder, "trace.json")]
        for key, value in changes.items():
            command += [f"--{key}"] if value is True else [f"--{key}", str(value)]
        run_script(command)
        trace = json.load(open(os.path.join(folder, "trace.json")))
    request = trace["request"]
    facts = {key: request[key] for key in ("dtype", "batch", "tokens", "past", "offload")} | {"modules": int(request["modules"])}
    facts |= {key: int(request[key]) for key in ("prompt", "loaded") if request.get(key)}
    facts |= {key: trace[key] for key in ("parameters_bytes", "kept_bytes", "peak_live_bytes", "peak_rounded_bytes")}
    versions = " ".join(f"{library} {version}" for library, version in trace["versions"].items())
    lines = [f"# recorded with {versions}", f"config {json.dumps(config, sort_keys=True)}", *(f"{key} {value}" for key, value in facts.items())]
    lines += [f"events {len(trace['events'])}", *packed([f"{event} {size}" for event, size in trace["events"]])]
    with open(os.path.join(out, name + ".txt"), "w") as file:
        file.write("\n".join(lines) + "\n")


def main():
    recorder, configs, out, *names = sys.argv[1:]
    for name in names or GOLDENS:
        print(name, file=sys.stderr)
        make(recorder, configs, out, name)


if __name__ == "__main__":
    main()
