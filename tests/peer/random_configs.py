"""Compares `inspect tensors` and `inspect summary` of random configs with the classes of transformers.

    python tests/peer/random_configs.py INSPECT [COUNT] [SEED] [FAMILY,...]

COUNT small configs of each family: sizes, optional fields present, absent or null, old and new spellings, each as it is
and as transformers saves it again. Compared are the names and shapes of what a checkpoint holds, parameters, tied groups
and no-split classes. Needs torch and
transformers 5.23, else it says that it is skipped; models are built on the meta device, nothing is downloaded.

Names are those of checkpoints: what transformers 5 renames, stacks or splits on loading is brought to that form.
Exit code: 1 for any difference, which is printed with its config.
"""

import collections
import json
import random
import re
import subprocess
import sys
import tempfile

try:
    import torch
    import transformers
except ImportError as error:
    print("skipped: %s" % error)
    sys.exit(0)

transformers.logging.set_verbosity_error()
r = random.Random()


def one(*values):
    return r.choice(values)


def heads(c, kv=True, old=None, dim=True):
    """hidden_size, num_attention_heads, num_key_value_heads, head_dim."""
    n, each = one(2, 4, 6, 8), one(8, 16)
    names = old or ("hidden_size", "num_attention_heads")
    c[names[0]], c[names[1]] = n * each, n
    if kv and r.random() < 0.8:
        c["num_key_value_heads"] = one(*[k for k in range(1, n + 1) if n % k == 0])
    if dim:
        c["head_dim"] = one(each, 2 * each, 24)
    return c


def maybe(c, p=0.5, **fields):
    for key, values in fields.items():
        if r.random() < p:
            c[key] = one(*values) if isinstance(values, tuple) else values
    return c


def rope(c):
    kind = r.random()
    if kind < 0.2:
        c["rope_scaling"] = None
    elif kind < 0.4:
        c["rope_scaling"] = {"type": "linear", "factor": 2.0}
    elif kind < 0.5:
        c["rope_scaling"] = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                             "original_max_position_embeddings": 32}
    elif kind < 0.6:
        c["rope_parameters"] = {"rope_type": "default", "rope_theta": 5e5}
    return maybe(c, rope_theta=(10000.0, 500000, 1e6))


def decoder(kind, prefix, kv=True, dim=True, bodies=("ForCausalLM", "ForCausalLM", "ForCausalLM", "Model")):
    c = {"model_type": kind, "architectures": [prefix + one(*bodies)], "num_hidden_layers": one(1, 2, 3, 5),
         "vocab_size": one(96, 100, 257), "intermediate_size": one(40, 64, 96),
         "max_position_embeddings": one(64, 128), "pad_token_id": one(None, 0), "bos_token_id": 1, "eos_token_id": 2}
    heads(c, kv, dim=dim and r.random() < 0.5)
    maybe(c, 0.6, tie_word_embeddings=(True, False))
    maybe(c, 0.3, torch_dtype=("bfloat16", "float16", "float32"), use_cache=True, initializer_range=0.02)
    return rope(c)


def nulls(c, *keys):
    for key in keys:
        if r.random() < 0.15:
            c[key] = None
    return c


def llama():
    c = decoder("llama", "Llama")
    maybe(c, attention_bias=(True, False), mlp_bias=(True, False), pretraining_tp=1, hidden_act="silu")
    if "num_key_value_heads" not in c or r.random() < 0.9:
        nulls(c, "num_key_value_heads")
    return nulls(c, "head_dim")


def mistral():
    return nulls(maybe(decoder("mistral", "Mistral", kv=True) | {"num_key_value_heads": one(1, 2)},
                       sliding_window=(None, 16)), "head_dim")


def mixtral():
    c = decoder("mixtral", "Mixtral") | {"num_key_value_heads": one(1, 2), "num_local_experts": one(2, 3, 8)}
    return nulls(maybe(c, sliding_window=(None, 16), num_experts_per_tok=2), "head_dim")


def qwen2():
    c = decoder("qwen2", "Qwen2", dim=False) | {"num_key_value_heads": one(1, 2)}
    return maybe(c, use_sliding_window=(True, False), sliding_window=(None, 16), max_window_layers=(1, 28))


def qwen3():
    c = decoder("qwen3", "Qwen3") | {"num_key_value_heads": one(1, 2)}
    return maybe(c, use_sliding_window=False, sliding_window=(None, 16), max_window_layers=28,
                 attention_bias=(True, False))


def qwen3_moe():
    c = decoder("qwen3_moe", "Qwen3Moe") | {"num_key_value_heads": one(1, 2), "num_experts": one(2, 4, 5),
                                            "moe_intermediate_size": one(24, 32), "num_experts_per_tok": 2}
    return maybe(c, decoder_sparse_step=(1, 2), mlp_only_layers=([], [0], [1]), attention_bias=(True, False),
                 norm_topk_prob=True, use_sliding_window=False)


def gemma(kind="gemma", prefix="Gemma"):
    c = decoder(kind, prefix) | {"head_dim": one(16, 24)}
    c.setdefault("num_key_value_heads", c["num_attention_heads"])
    return maybe(c, hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", attention_bias=(True, False))


def gemma2():
    c = gemma("gemma2", "Gemma2") | {"num_key_value_heads": one(1, 2)}
    return maybe(c, sliding_window=16, query_pre_attn_scalar=16, attn_logit_softcapping=50.0)


def gemma3_text():
    c = gemma("gemma3_text", "Gemma3") | {"num_key_value_heads": one(1, 2)}
    c["architectures"] = [one("Gemma3ForCausalLM", "Gemma3TextModel")]
    if c.get("rope_scaling"):
        c["rope_scaling"] = one(None, {"rope_type": "linear", "factor": 8.0})
    return maybe(c, sliding_window=16, sliding_window_pattern=6, rope_local_base_freq=1e4)


def gemma3():
    text = gemma3_text()
    tied = text.pop("tie_word_embeddings", None)
    for key in ("architectures", "rope_scaling", "torch_dtype"):
        text.pop(key, None)
    vision = {"model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": one(48, 64),
              "num_hidden_layers": one(1, 3), "num_attention_heads": 4, "image_size": one(32, 64), "patch_size": 8}
    maybe(vision, vision_use_head=(True, False), num_channels=1)
    c = {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "text_config": text,
         "vision_config": vision, "mm_tokens_per_image": 4}
    return c | ({"tie_word_embeddings": tied} if tied is not None else {})


def phi3():
    c = decoder("phi3", "Phi3", dim=False) | {"original_max_position_embeddings": 64, "pad_token_id": 0}
    c["rope_scaling"] = None
    c.pop("rope_parameters", None)
    if r.random() < 0.4:
        c["partial_rotary_factor"] = 0.5
    rotary = int(c["hidden_size"] // c["num_attention_heads"] * c.get("partial_rotary_factor", 1.0))
    if r.random() < 0.4:
        factors = [1.0] * (rotary // 2)
        c["rope_scaling"] = {"type": "longrope", "short_factor": factors, "long_factor": factors}
        c["max_position_embeddings"] = 128
    return nulls(maybe(c, sliding_window=(None, 16)), "num_key_value_heads")


def starcoder2():
    c = decoder("starcoder2", "Starcoder2", dim=False) | {"num_key_value_heads": one(1, 2)}
    return maybe(c, use_bias=(True, False), norm_epsilon=1e-5, sliding_window=(None, 16), hidden_act="gelu_pytorch_tanh")


def olmo2():
    return maybe(decoder("olmo2", "Olmo2", dim=False), attention_bias=(True, False))


def smollm3():
    c = decoder("smollm3", "SmolLM3", dim=False) | {"num_key_value_heads": one(1, 2)}
    return maybe(c, no_rope_layer_interval=(2, 4), attention_bias=(True, False), mlp_bias=(True, False),
                 use_sliding_window=False)


def cohere():
    c = decoder("cohere", "Cohere", dim=False)
    return maybe(c, use_qk_norm=(True, False), attention_bias=(True, False), layer_norm_eps=1e-5, logit_scale=0.06)


def deepseek(kind, prefix):
    c = decoder(kind, prefix, kv=False, dim=False) | {
        "q_lora_rank": one(None, 24, 32), "kv_lora_rank": one(16, 24), "qk_nope_head_dim": one(8, 16),
        "qk_rope_head_dim": one(4, 8), "v_head_dim": one(8, 12), "n_routed_experts": one(4, 8),
        "moe_intermediate_size": one(24, 32), "n_shared_experts": one(1, 2), "num_experts_per_tok": 2, "n_group": 2,
        "topk_group": 1, "first_k_dense_replace": one(0, 1, 2)}
    c["num_key_value_heads"] = c["num_attention_heads"]
    c["rope_scaling"] = one(None, {"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0,
                                   "mscale_all_dim": 1.0, "original_max_position_embeddings": 64})
    c.pop("rope_parameters", None)
    return maybe(c, attention_bias=(True, False), moe_layer_freq=1, norm_topk_prob=True, scoring_func="softmax")


def gpt_oss():
    c = decoder("gpt_oss", "GptOss") | {"num_key_value_heads": one(1, 2), "num_local_experts": one(2, 4),
                                        "head_dim": 16, "num_experts_per_tok": 2}
    c["rope_scaling"] = None
    c.pop("rope_parameters", None)
    return maybe(c, sliding_window=16, attention_bias=(True, False))


def llama4_text():
    c = decoder("llama4_text", "Llama4", bodies=("ForCausalLM", "TextModel")) | {
        "num_key_value_heads": one(1, 2), "num_local_experts": one(2, 4), "intermediate_size_mlp": one(48, 80),
        "head_dim": 16, "num_experts_per_tok": 1}
    return maybe(c, interleave_moe_layer_step=(1, 2), use_qk_norm=(True, False), attention_bias=(True, False),
                 attention_chunk_size=16)


def llama4():
    text = llama4_text()
    for key in ("architectures", "torch_dtype", "tie_word_embeddings"):
        text.pop(key, None)
    vision = {"model_type": "llama4_vision_model", "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2,
              "num_attention_heads": 4, "image_size": one(32, 64), "patch_size": 8, "projector_input_dim": 48,
              "projector_output_dim": 48, "vision_output_dim": 48}
    return maybe({"model_type": "llama4", "architectures": ["Llama4ForConditionalGeneration"], "text_config": text,
                  "vision_config": vision}, 0.3, tie_word_embeddings=False)


def gpt2():
    c = {"model_type": "gpt2", "architectures": [one("GPT2LMHeadModel", "GPT2LMHeadModel", "GPT2Model")],
         one("n_layer", "num_hidden_layers"): one(1, 3), "vocab_size": 100,
         one("n_positions", "max_position_embeddings"): 32}
    heads(c, False, one(("n_embd", "n_head"), ("hidden_size", "num_attention_heads")), dim=False)
    return maybe(c, n_inner=(None, 80), n_ctx=32, tie_word_embeddings=(True, False), activation_function="gelu_new")


def gptj():
    c = {"model_type": "gptj", "architectures": [one("GPTJForCausalLM", "GPTJModel")], "n_layer": one(1, 3),
         "vocab_size": 100, "n_positions": 32, "rotary_dim": one(4, 8)}
    heads(c, False, ("n_embd", "n_head"), dim=False)
    return maybe(c, n_inner=(None, 80), tie_word_embeddings=(True, False), rotary=True)


def gpt_neox():
    c = decoder("gpt_neox", "GPTNeoX", kv=False, dim=False)
    return maybe(c, rotary_pct=(0.25, 1.0), use_parallel_residual=(True, False), attention_bias=(True, False),
                 hidden_act=("gelu", "gelu_fast"), rotary_emb_base=10000)


def opt():
    c = {"model_type": "opt", "architectures": [one("OPTForCausalLM", "OPTForCausalLM", "OPTModel")],
         "num_hidden_layers": one(1, 3), "ffn_dim": one(48, 96), "vocab_size": 100, "max_position_embeddings": 32,
         "pad_token_id": 1}
    heads(c, False, dim=False)
    maybe(c, word_embed_proj_dim=(c["hidden_size"], 32), do_layer_norm_before=(True, False), enable_bias=(True, False),
          layer_norm_elementwise_affine=(True, False), tie_word_embeddings=(True, False), activation_function="relu")
    return maybe(c, 0.2, _remove_final_layer_norm=(True, False))


def bloom():
    c = {"model_type": "bloom", "architectures": [one("BloomForCausalLM", "BloomModel")],
         one("n_layer", "num_hidden_layers"): one(1, 3), "vocab_size": 100}
    heads(c, False, one(("hidden_size", "n_head"), ("n_embed", "num_attention_heads")), dim=False)
    return maybe(c, tie_word_embeddings=(True, False), apply_residual_connection_post_layernorm=False, slow_but_exact=False)


def falcon():
    c = {"model_type": "falcon", "architectures": [one("FalconForCausalLM", "FalconForCausalLM", "FalconModel")],
         "num_hidden_layers": one(1, 3), "vocab_size": 100}
    heads(c, False, dim=False)
    n = c["num_attention_heads"]
    maybe(c, multi_query=(True, False), new_decoder_architecture=(True, False), parallel_attn=(True, False),
          alibi=(True, False), bias=(True, False), tie_word_embeddings=(True, False))
    return maybe(c, 0.3, num_kv_heads=(1, 2, n), num_ln_in_parallel_attn=(1, 2, None), ffn_hidden_size=(80, 96),
                 activation="gelu")


def bert():
    c = {"model_type": "bert", "architectures": ["BertModel"], "num_hidden_layers": one(1, 3), "vocab_size": 100,
         "intermediate_size": one(48, 96), "max_position_embeddings": 32}
    heads(c, False, dim=False)
    return maybe(c, type_vocab_size=(1, 2), hidden_act=("gelu", "relu"), position_embedding_type="absolute")


def t5(kind="t5", prefix="T5"):
    c = {"model_type": kind, "architectures": [prefix + one("EncoderModel", "Model", "ForConditionalGeneration")], "num_layers": one(1, 3), "d_model": one(32, 48),
         "d_ff": one(64, 96), "d_kv": one(8, 16), "num_heads": one(2, 4), "vocab_size": 100}
    return maybe(c, feed_forward_proj=("relu", "gated-gelu", "gated-silu"), tie_word_embeddings=(True, False),
                 relative_attention_num_buckets=16, num_decoder_layers=2)


def clip():
    c = {"model_type": "clip_text_model", "architectures": [one("CLIPTextModel", "CLIPTextModelWithProjection")],
         "num_hidden_layers": one(1, 3), "intermediate_size": one(48, 96), "vocab_size": 100}
    heads(c, False, dim=False)
    return maybe(c, projection_dim=(16, 40), max_position_embeddings=32, hidden_act=("quick_gelu", "gelu"))


def vit():
    c = {"model_type": "vit", "architectures": [one("ViTForImageClassification", "ViTModel")], "num_hidden_layers": 2,
         "intermediate_size": one(48, 96), "image_size": one(32, 64), "patch_size": one(8, 16)}
    heads(c, False, dim=False)
    maybe(c, qkv_bias=(True, False), num_channels=(1, 3), pooler_output_size=32)
    return maybe(c, id2label={"0": "a", "1": "b", "2": "c"}) if r.random() < 0.7 else c | {"num_labels": one(2, 5)}


def whisper():
    c = {"model_type": "whisper", "architectures": [one("WhisperForConditionalGeneration", "WhisperModel")],
         "encoder_layers": one(1, 2), "decoder_layers": one(1, 3), "d_model": 48, "encoder_ffn_dim": one(64, 96),
         "decoder_ffn_dim": one(64, 96), "encoder_attention_heads": 4, "decoder_attention_heads": one(4, 6),
         "vocab_size": 100, "pad_token_id": 1}
    return maybe(c, num_mel_bins=(16, 80), max_source_positions=20, max_target_positions=12, scale_embedding=False,
                 tie_word_embeddings=(True, False), num_hidden_layers=2)


FAMILIES = {f.__name__: f for f in (llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, gemma, gemma2, gemma3_text, gemma3,
                                    phi3, starcoder2, olmo2, smollm3, cohere, gpt_oss, llama4_text, llama4, gpt2, gptj,
                                    gpt_neox, opt, bloom, falcon, bert, t5, clip, vit, whisper)}
FAMILIES |= {"deepseek_v2": lambda: deepseek("deepseek_v2", "DeepseekV2"),
             "deepseek_v3": lambda: deepseek("deepseek_v3", "DeepseekV3"),
             "mt5": lambda: t5("mt5", "MT5"), "umt5": lambda: t5("umt5", "UMT5")}

# In memory -> in files, by model_type.
RENAMES = {
    "clip_text_model": [(r"^(?!text_model\.|text_projection)", "text_model.")],
    "vit": [(r"(^|\.)layers\.(\d+)\.", r"\1encoder.layer.\2."),
            (r"attention\.(q|k|v)_proj", lambda m: "attention.attention."
             + {"q": "query", "k": "key", "v": "value"}[m.group(1)]),
            (r"attention\.o_proj", "attention.output.dense"), (r"mlp\.fc1", "intermediate.dense"),
            (r"mlp\.fc2", "output.dense")],
    "gemma3": [(r"^model\.language_model\.", "language_model.model."), (r"^lm_head", "language_model.lm_head"),
               (r"^model\.vision_tower\.", "vision_tower.vision_model."),
               (r"^model\.multi_modal_projector\.", "multi_modal_projector.")],
    "mixtral": [(r"\.mlp\.", ".block_sparse_moe.")],
}
EXPERT = re.compile(r"^(.*)\.experts\.(\d+)\.(gate_proj|up_proj|down_proj|w1|w2|w3)\.weight$")


def stacked(tensors):
    """One tensor per expert -> the two of transformers 5."""
    out, experts = {}, collections.defaultdict(lambda: collections.defaultdict(dict))
    for name, shape in tensors.items():
        m = EXPERT.match(name)
        if m is None:
            out[name] = shape
        else:
            experts[m.group(1)][m.group(2)][m.group(3)] = shape
    for base, each in experts.items():
        shapes = each["0"]
        assert all(e == shapes for e in each.values()), base
        wide, high = shapes.get("gate_proj") or shapes["w1"]
        assert (shapes.get("up_proj") or shapes["w3"]) == [wide, high]
        assert (shapes.get("down_proj") or shapes["w2"]) == [high, wide]
        out[base + ".experts.gate_up_proj"] = [len(each), 2 * wide, high]
        out[base + ".experts.down_proj"] = [len(each), high, wide]
    return out


def ours(inspect, path):
    def ask(what):
        done = subprocess.run([inspect, what, path, "--json"], capture_output=True, text=True)
        if done.returncode != 0:
            raise ValueError(done.stderr.strip() or "exit code %d" % done.returncode)
        return json.loads(done.stdout)

    summary = ask("summary")
    return {"tensors": stacked({t["name"]: t["shape"] for t in ask("tensors")}), "parameters": summary["parameters"],
            "tied": sorted(sorted(g) for g in summary["tied_groups"]), "no split": set(summary["no_split_classes"])}


def theirs(config):
    kind = config["model_type"]
    made = transformers.AutoConfig.for_model(kind, **{k: v for k, v in config.items() if k != "model_type"})
    with torch.device("meta"):
        model = getattr(transformers, config["architectures"][0])(made)
    model.tie_weights()

    def stored(name):
        for pattern, replacement in RENAMES.get(kind, ()):
            name = re.sub(pattern, replacement, name)
        return name

    names, tensors = collections.defaultdict(list), {}
    for name, p in model.named_parameters(remove_duplicate=False):
        names[id(p)].append(stored(name))
        if len(names[id(p)]) == 1:
            tensors[stored(name)] = list(p.shape)
    persistent, parameters = set(model.state_dict()), sum(p.numel() for p in model.parameters())
    for name, b in model.named_buffers():
        if name in persistent:
            tensors[stored(name)] = list(b.shape)
        if name.endswith("e_score_correction_bias"):  # a parameter in the published code and counts
            parameters += b.numel()
    saved = made.to_dict() | {"architectures": config["architectures"]}
    saved.pop("num_nextn_predict_layers", None)  # layers that are in the published files but in no class
    return {"saved": saved, "tensors": tensors, "parameters": parameters,
            "tied": sorted(sorted(g) for g in names.values() if len(g) > 1),
            "no split": set(model._no_split_modules or []), "classes": {type(m).__name__ for m in model.modules()}}


def differences(got, want):
    out = []
    for name in sorted(got["tensors"].keys() | want["tensors"].keys()):
        if got["tensors"].get(name) != want["tensors"].get(name):
            out.append("%s: %s here, %s there" % (name, got["tensors"].get(name), want["tensors"].get(name)))
    for key in ("parameters", "tied"):
        if got[key] != want[key]:
            out.append("%s: %s here, %s there" % (key, got[key], want[key]))
    # A class list may name classes of a sibling model too.
    if got["no split"] & want["classes"] != want["no split"] & want["classes"]:
        out.append("no split: %s here, %s there" % (sorted(got["no split"]), sorted(want["no split"])))
    return out


def compare(inspect, text, want):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(text)
        file.flush()
        try:
            return differences(ours(inspect, file.name), want)
        except ValueError as error:
            return [str(error).replace(file.name, "config")]


def main():
    inspect = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    seed = sys.argv[3] if len(sys.argv) > 3 else "1"
    chosen = sys.argv[4].split(",") if len(sys.argv) > 4 else list(FAMILIES)
    compared, differing, refused = 0, 0, 0
    for family in chosen:
        for index in range(count):
            r.seed("%s %s %d" % (seed, family, index))
            config = FAMILIES[family]()
            try:
                want = theirs(json.loads(json.dumps(config)))
            except Exception as error:  # a config that transformers refuses says nothing about ours
                refused += 1
                print("%s %d: refused there: %s" % (family, index, str(error).splitlines()[0][:150]))
                continue
            for text in (json.dumps(config), json.dumps(want["saved"])):
                compared += 1
                wrong = compare(inspect, text, want)
                differing += bool(wrong)
                if wrong:
                    print("%s %d: %s" % (family, index, text))
                for line in wrong[:6]:
                    print("    " + line)
    print("%d configs compared, %d differ, %d refused by transformers" % (compared, differing, refused))
    sys.exit(differing != 0)


if __name__ == "__main__":
    main()
