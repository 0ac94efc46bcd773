#!/usr/bin/env python3
"""Compares `inspect trace` with the recorder on random configs of the families beyond Llama, event by event. Not part of the test run.

    compare_family_traces.py RECORDER INSPECT [COUNT [SEED [FAMILY ...]]]

Arguments as compare_torch_traces.py's; with FAMILYs only those model types. Exit code 1 when any differs. What transformers itself
refuses is skipped; what ours refuses differs.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

from make_family_traces import OTHERS, run_script

FIGURES = ("peak_live_bytes", "peak_rounded_bytes", "kept_bytes", "parameters_bytes", "events")


def llama(pick):
    kv_heads, group = pick.choice([1, 2, 3]), pick.choice([1, 1, 2, 3])
    return {
        "hidden_act": "silu", "hidden_size": pick.choice([16, 48, 80]), "intermediate_size": pick.choice([8, 40, 96]), "num_attention_heads": kv_heads * group,
        "num_key_value_heads": kv_heads, "head_dim": pick.choice([2, 6, 10, 16, 272]), "num_hidden_layers": pick.choice([1, 2, 4]),
        "vocab_size": pick.choice([11, 320]), "max_position_embeddings": 512, "tie_word_embeddings": pick.random() < 0.3,
    }


def experts(pick):
    count = pick.choice([1, 2, 5, 8])
    return count, pick.randint(1, count)


def mixtral(pick):
    count, chosen = experts(pick)
    return llama(pick) | {
        "architectures": [pick.choice(["MixtralForCausalLM", "MixtralForCausalLM", "MixtralModel"])], "num_local_experts": count,
        "num_experts_per_tok": chosen, "sliding_window": pick.choice([None, None, 4, 30]),
    }


def qwen3_moe(pick):
    count, chosen = experts(pick)
    return llama(pick) | {
        "architectures": ["Qwen3MoeForCausalLM"], "moe_intermediate_size": pick.choice([8, 24]), "num_experts": count, "num_experts_per_tok": chosen,
        "decoder_sparse_step": pick.choice([1, 2]), "mlp_only_layers": pick.choice([[], [0]]), "norm_topk_prob": pick.random() < 0.5,
        "attention_bias": pick.random() < 0.3, "use_sliding_window": pick.random() < 0.3, "sliding_window": 6,
    }


def gpt_oss(pick):
    count, chosen = experts(pick)
    base = llama(pick)
    types = [pick.choice(["full_attention", "sliding_attention"]) for _ in range(base["num_hidden_layers"])]
    return base | {
        "architectures": ["GptOssForCausalLM"], "num_local_experts": count, "num_experts_per_tok": chosen, "sliding_window": pick.choice([2, 6, 30]),
        "attention_bias": pick.random() < 0.7, **({"layer_types": types} if pick.random() < 0.5 else {}),
    }


def llama4_text(pick):
    count, chosen = experts(pick)
    base = llama(pick) | {"num_hidden_layers": pick.choice([1, 2, 4, 5])}
    return base | {
        "architectures": ["Llama4ForCausalLM"], "num_local_experts": count, "num_experts_per_tok": chosen, "intermediate_size_mlp": 72,
        "interleave_moe_layer_step": pick.choice([1, 2]), "attention_chunk_size": pick.choice([4, 8, 64]), "use_qk_norm": pick.random() < 0.6,
        "attn_temperature_tuning": pick.random() < 0.6, "attention_bias": pick.random() < 0.3, "no_rope_layer_interval": pick.choice([2, 4]),
    }


def latent(pick):
    heads = pick.choice([1, 2, 4])
    return {
        "hidden_act": "silu", "hidden_size": pick.choice([16, 64]), "intermediate_size": 40, "moe_intermediate_size": pick.choice([8, 24]),
        "num_attention_heads": heads, "num_key_value_heads": heads, "num_hidden_layers": pick.choice([1, 3]), "first_k_dense_replace": pick.choice([0, 1]),
        "kv_lora_rank": pick.choice([8, 24]), "qk_nope_head_dim": pick.choice([4, 16]), "qk_rope_head_dim": pick.choice([2, 8]),
        "v_head_dim": pick.choice([4, 12, 20]), "n_routed_experts": 8, "n_shared_experts": pick.choice([1, 2]), "num_experts_per_tok": pick.choice([1, 2, 4]),
        "q_lora_rank": pick.choice([None, 32]), "vocab_size": 320, "max_position_embeddings": 512, "attention_bias": pick.random() < 0.3,
    }


def deepseek_v2(pick):
    grouped = {"topk_method": "group_limited_greedy", "n_group": pick.choice([1, 2, 8]), "topk_group": 1}
    return latent(pick) | {"architectures": ["DeepseekV2ForCausalLM"]} | (grouped if pick.random() < 0.5 else {})


def deepseek_v3(pick):
    groups = pick.choice([1, 2, 4])
    return latent(pick) | {
        "architectures": ["DeepseekV3ForCausalLM"], "n_group": groups, "topk_group": pick.randint(1, groups), "norm_topk_prob": pick.random() < 0.7,
        "rope_interleave": pick.random() < 0.7,
    }


def encoder(pick):
    heads = pick.choice([1, 3])
    return {
        "hidden_size": heads * pick.choice([4, 10]), "intermediate_size": pick.choice([7, 40]), "num_attention_heads": heads,
        "num_hidden_layers": pick.choice([1, 3]), "vocab_size": 320, "max_position_embeddings": 128,
    }


def bert(pick):
    return encoder(pick) | {"architectures": ["BertModel"], "hidden_act": pick.choice(["gelu", "relu", "gelu_new"])}


def clip_text_model(pick):
    return encoder(pick) | {
        "architectures": [pick.choice(["CLIPTextModel", "CLIPTextModelWithProjection"])], "hidden_act": pick.choice(["quick_gelu", "gelu"]),
        "eos_token_id": pick.choice([2, 9]), "projection_dim": pick.choice([5, 32]),
    }


def t5(pick, name="T5"):
    return {
        "architectures": [name + pick.choice(["EncoderModel", "Model", "ForConditionalGeneration"])], "d_model": pick.choice([8, 48]), "d_kv": pick.choice([4, 16]), "d_ff": pick.choice([7, 80]),
        "num_heads": pick.choice([1, 3]), "num_layers": pick.choice([1, 3]), "vocab_size": 320, "relative_attention_num_buckets": 8,
        "feed_forward_proj": pick.choice(["relu", "gated-gelu"]), "num_decoder_layers": pick.choice([1, 2]),
        "tie_word_embeddings": pick.random() < 0.5,
    }


def mt5(pick):
    return t5(pick, "MT5")


def umt5(pick):
    return t5(pick, "UMT5")


def vit(pick):
    base = encoder(pick) | {"architectures": [pick.choice(["ViTModel", "ViTForImageClassification"])], "image_size": pick.choice([14, 30]), "patch_size": 7}
    return base | {"qkv_bias": pick.random() < 0.7, "id2label": {str(i): str(i) for i in range(5)}}


def whisper(pick):
    heads = pick.choice([1, 2, 4])
    return {
        "architectures": [pick.choice(["WhisperForConditionalGeneration", "WhisperModel"])], "d_model": heads * 12, "encoder_layers": pick.choice([1, 2]),
        "decoder_layers": pick.choice([1, 3]), "encoder_attention_heads": pick.choice([1, 3]), "decoder_attention_heads": heads, "encoder_ffn_dim": 20,
        "decoder_ffn_dim": 36, "vocab_size": 320, "num_mel_bins": 10, "max_source_positions": pick.choice([1, 15]), "max_target_positions": 128,
        "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 0,
    }


def gptj(pick):
    heads = pick.choice([1, 2, 5])
    return {
        "architectures": [pick.choice(["GPTJForCausalLM", "GPTJModel"])], "n_embd": heads * 12, "n_head": heads, "n_layer": pick.choice([1, 3]),
        "n_positions": 128, "vocab_size": 320, "rotary_dim": pick.choice([2, 6, 12]), "n_inner": pick.choice([None, 20]),
        "activation_function": pick.choice(["gelu_new", "relu"]), "tie_word_embeddings": pick.random() < 0.3,
    }


def bloom(pick):
    heads = pick.choice([1, 2, 3, 4, 7])
    return {
        "architectures": [pick.choice(["BloomForCausalLM", "BloomModel"])], "hidden_size": heads * 8, "n_head": heads, "n_layer": pick.choice([1, 3]),
        "vocab_size": 320, "apply_residual_connection_post_layernorm": pick.random() < 0.4,
    }


def falcon(pick):
    kv_heads, group = pick.choice([1, 2, 3]), pick.choice([1, 2, 3])
    return {
        "architectures": [pick.choice(["FalconForCausalLM", "FalconModel"])], "hidden_size": kv_heads * group * 8, "num_attention_heads": kv_heads * group,
        "num_kv_heads": kv_heads, "num_hidden_layers": pick.choice([1, 3]), "vocab_size": 320, "new_decoder_architecture": pick.random() < 0.5,
        "multi_query": pick.random() < 0.5, "parallel_attn": pick.random() < 0.7, "bias": pick.random() < 0.5, "alibi": pick.random() < 0.4,
        "num_ln_in_parallel_attn": pick.choice([None, None, 1, 2]), "ffn_hidden_size": pick.choice([20, 64]),
    }


def gpt2(pick):
    heads = pick.choice([1, 2, 5])
    return {
        "architectures": [pick.choice(["GPT2LMHeadModel", "GPT2Model"])], "n_embd": heads * 8, "n_head": heads, "n_layer": pick.choice([1, 3]),
        "n_positions": 128, "vocab_size": 320, "n_inner": pick.choice([None, 20]), "activation_function": pick.choice(["gelu_new", "gelu"]),
    }


def gpt_neox(pick):
    heads = pick.choice([1, 2, 5])
    return {
        "architectures": [pick.choice(["GPTNeoXForCausalLM", "GPTNeoXModel"])], "hidden_size": heads * 16, "num_attention_heads": heads,
        "num_hidden_layers": pick.choice([1, 3]), "intermediate_size": 20, "max_position_embeddings": 128, "vocab_size": 320,
        "rotary_pct": pick.choice([0.25, 0.5, 1.0]), "use_parallel_residual": pick.random() < 0.6, "attention_bias": pick.random() < 0.6,
    }


def opt(pick):
    heads = pick.choice([1, 2, 5])
    return {
        "architectures": [pick.choice(["OPTForCausalLM", "OPTModel"])], "hidden_size": heads * 16, "num_attention_heads": heads, "ffn_dim": 20,
        "num_hidden_layers": pick.choice([1, 3]), "max_position_embeddings": 128, "vocab_size": 320, "pad_token_id": 1,
        "word_embed_proj_dim": heads * 16 if pick.random() < 0.6 else 24, "do_layer_norm_before": pick.random() < 0.7,
        "enable_bias": pick.random() < 0.8, "layer_norm_elementwise_affine": pick.random() < 0.8, "_remove_final_layer_norm": pick.random() < 0.2,
    }


FAMILIES = (gptj, bloom, falcon, gpt2, gpt_neox, opt, mixtral, qwen3_moe, gpt_oss, llama4_text, deepseek_v2, deepseek_v3, bert, clip_text_model, t5, mt5, umt5, vit, whisper)
CACHELESS = ("bert", "clip_text_model", "vit")


def case(pick, family):
    config = family(pick) | {"model_type": family.__name__}
    tokens = pick.choice([1, 2, 7, 40])
    encodes = family.__name__ in CACHELESS or config["architectures"][0].endswith("5EncoderModel")
    decode = not encodes and pick.random() < 0.5
    prompt = ["--prompt", str(pick.choice([1, 3, 20]))] if decode and family.__name__.endswith("t5") else []
    common = prompt + ["--dtype", pick.choice(["bfloat16", "bfloat16", "float16", "float32"]), "--batch", str(pick.choice([1, 1, 2, 3])),
              "--offload", pick.choice(["none", "sequential"])]
    return config, tokens, decode, common + (["--modules"] if pick.random() < 0.3 else [])


def in_any_order(events):
    """Releases that follow each other, by size."""
    out, run = [], []
    for event in [*events, ["", 1]]:
        if event[1] < 0:
            run.append(event)
            continue
        out += sorted(run, key=lambda released: (released[1], released[0])) + [event]
        run = []
    return out


def differs(recorder, inspect, config, tokens, decode, common):
    """None when equal, "skipped" when transformers refuses, else what differs."""
    here = os.path.dirname(os.path.abspath(__file__))
    other = config["model_type"] in OTHERS
    script = [os.path.join(here, "record_encoder_trace.py"), recorder] if other else [recorder]
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "trace.json")
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config, file)
        shape = ["--tokens", "1", "--past", str(tokens)] if decode else ["--tokens", str(tokens)]
        try:
            run_script([*script, folder, *shape, *common, "--out", out])
        except RuntimeError:
            return "skipped"
        with open(out) as file:
            recorded = json.load(file)
        command = [inspect, "trace", folder, "--pass", f"{'decode' if decode else 'prefill'}:{tokens}", "--runtime", "torch", "--json", *common]
        run = subprocess.run(command, capture_output=True, text=True)
    ours = json.loads(run.stdout) if run.returncode == 0 else {}
    if config["model_type"] == "gpt_oss" and "sequential" in common:  # see make_family_traces.resident
        for trace in (ours, recorded):
            trace["events"] = in_any_order(trace.get("events", []))
    wrong = [figure for figure in FIGURES if ours.get(figure) != recorded[figure]]
    return f"in {wrong}: {json.dumps(config)} {' '.join(shape + common)} {run.stderr}" if wrong else None


def main():
    recorder, inspect = sys.argv[1:3]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 24
    pick = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    families = [family for family in FAMILIES if not sys.argv[5:] or family.__name__ in sys.argv[5:]]
    tally = {family.__name__: [0, 0, 0] for family in families}  # equal, differs, skipped
    for number in range(count):
        family = families[number % len(families)]
        found = differs(recorder, inspect, *case(pick, family))
        tally[family.__name__][0 if found is None else 2 if found == "skipped" else 1] += 1
        if found is not None:
            print(number, family.__name__, found, flush=True)
    for name, (equal, wrong, skipped) in tally.items():
        print(f"{name}: {equal} equal, {wrong} differ, {skipped} skipped")
    sys.exit(any(wrong for _, wrong, _ in tally.values()))


if __name__ == "__main__":
    main()
