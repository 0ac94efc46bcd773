"""Writes module trees of transformers for planner/families/classic_golden_test.cc: the families of before llama and the
encoders, small and in many variations.

    python tests/peer/classic_module_trees.py planner/families/goldens/classic_trees.txt

Needs torch and transformers (recorded with 5.23.0); models are built on the meta device, nothing is downloaded. Form of
a case:

    == NAME {config.json on one line}
    modules, parameters, sum of parameter elements (a tied weight once); no-split classes
    MODULE CLASS PARAM[shape]:dtype ... ~BUFFER[shape]:dtype[!]      (! = not saved; the root is '.')
    tied: OWNER = COPY

Names are those in memory.
"""

import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "python"))
import dump_modules  # noqa: E402

GPT2 = dict(model_type="gpt2", architectures=["GPT2LMHeadModel"], n_layer=2, n_embd=48, n_head=4, vocab_size=100,
            n_positions=32)
GPTJ = dict(model_type="gptj", architectures=["GPTJForCausalLM"], n_layer=2, n_embd=48, n_head=4, vocab_size=100,
            n_positions=32, rotary_dim=8)
NEOX = dict(model_type="gpt_neox", architectures=["GPTNeoXForCausalLM"], num_hidden_layers=2, hidden_size=64,
            num_attention_heads=2, vocab_size=100, intermediate_size=160)
OPT = dict(model_type="opt", architectures=["OPTForCausalLM"], num_hidden_layers=2, hidden_size=48, ffn_dim=96,
           num_attention_heads=4, vocab_size=100, word_embed_proj_dim=48, max_position_embeddings=32)
BLOOM = dict(model_type="bloom", architectures=["BloomForCausalLM"], n_layer=2, hidden_size=48, n_head=4,
             vocab_size=100, torch_dtype="bfloat16")
FALCON = dict(model_type="falcon", architectures=["FalconForCausalLM"], num_hidden_layers=2, hidden_size=64,
              num_attention_heads=4, vocab_size=100)

BERT = dict(model_type="bert", architectures=["BertModel"], num_hidden_layers=2, hidden_size=48, num_attention_heads=4,
            intermediate_size=96, vocab_size=100, max_position_embeddings=24)
T5 = dict(model_type="t5", architectures=["T5EncoderModel"], num_layers=2, d_model=48, d_ff=96, d_kv=8, num_heads=4,
          vocab_size=100)
CLIP = dict(model_type="clip_text_model", architectures=["CLIPTextModel"], num_hidden_layers=2, hidden_size=48,
            num_attention_heads=4, intermediate_size=96, vocab_size=100, projection_dim=40)
VIT = dict(model_type="vit", architectures=["ViTForImageClassification"], num_hidden_layers=2, hidden_size=48,
           num_attention_heads=4, intermediate_size=96, image_size=32, patch_size=8, num_labels=7)
WHISPER = dict(model_type="whisper", architectures=["WhisperForConditionalGeneration"], encoder_layers=2,
               decoder_layers=3, d_model=48, encoder_ffn_dim=96, decoder_ffn_dim=64, encoder_attention_heads=4,
               decoder_attention_heads=6, vocab_size=100, pad_token_id=1, num_mel_bins=16, max_source_positions=20,
               max_target_positions=12)

CASES = {
    "gpt2": GPT2,
    "gpt2-alone": GPT2 | dict(architectures=["GPT2Model"], torch_dtype="float16"),
    "gpt2-variant": GPT2 | dict(n_inner=80, activation_function="gelu", tie_word_embeddings=False, dtype="bfloat16"),
    "gpt2-cross": GPT2 | dict(add_cross_attention=True),
    "gpt2-generic-names": dict(model_type="gpt2", architectures=["GPT2LMHeadModel"], num_hidden_layers=3,
                               hidden_size=32, num_attention_heads=2, vocab_size=64, max_position_embeddings=16),
    "gptj": GPTJ | dict(tie_word_embeddings=False, torch_dtype="float16"),
    "gptj-variant": GPTJ | dict(n_inner=56, activation_function="relu", tie_word_embeddings=True),
    "gptj-alone": GPTJ | dict(architectures=["GPTJModel"], rotary_dim=12),
    "gpt_neox": NEOX | dict(rotary_pct=0.25, torch_dtype="float16", hidden_act="gelu_fast"),
    "gpt_neox-redpajama": NEOX | dict(rotary_pct=1.0, use_parallel_residual=False),
    "gpt_neox-variant": NEOX | dict(attention_bias=False, tie_word_embeddings=True, hidden_act="gelu_new",
                                    rope_parameters=dict(rope_type="default", rope_theta=1e4,
                                                         partial_rotary_factor=0.5)),
    "gpt_neox-alone": NEOX | dict(architectures=["GPTNeoXModel"]),
    "opt": OPT | dict(torch_dtype="float16"),
    "opt-350m-like": OPT | dict(word_embed_proj_dim=32, do_layer_norm_before=False),
    "opt-projected": OPT | dict(word_embed_proj_dim=64),
    "opt-no-final-norm": OPT | dict(_remove_final_layer_norm=True, tie_word_embeddings=False),
    "opt-no-biases": OPT | dict(enable_bias=False, layer_norm_elementwise_affine=False, activation_function="gelu"),
    "opt-alone": {k: v for k, v in OPT.items() if k != "word_embed_proj_dim"} | dict(architectures=["OPTModel"]),
    "bloom": BLOOM,
    "bloom-n_embed": BLOOM | dict(n_embed=32, num_attention_heads=2),
    "bloom-untied": BLOOM | dict(tie_word_embeddings=False),
    "bloom-alone": BLOOM | dict(architectures=["BloomModel"], torch_dtype="float16"),
    "falcon-7b-like": FALCON | dict(multi_query=True, parallel_attn=True, num_kv_heads=71, torch_dtype="bfloat16"),
    "falcon-40b-like": FALCON | dict(new_decoder_architecture=True, num_kv_heads=2, n_head=128, n_layer=60),
    "falcon-11b-like": FALCON | dict(new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1,
                                     ffn_hidden_size=160, tie_word_embeddings=False),
    "falcon-rw-1b-like": FALCON | dict(alibi=True, bias=True, multi_query=False, parallel_attn=False),
    "falcon-40b-without-kv-heads": FALCON | dict(new_decoder_architecture=True, bias=True, activation="relu"),
    "falcon-alone": FALCON | dict(architectures=["FalconModel"]),
    "falcon-new-serial": FALCON | dict(new_decoder_architecture=True, parallel_attn=False, num_kv_heads=4),
    "bert": BERT,
    "bert-variant": BERT | dict(type_vocab_size=1, hidden_act="relu", torch_dtype="float16"),
    "t5": T5 | dict(feed_forward_proj="relu"),
    "t5-default-feed-forward": T5,
    "t5-gated": T5 | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False, torch_dtype="bfloat16",
                          relative_attention_num_buckets=16),
    "t5-gated-silu": T5 | dict(feed_forward_proj="gated-silu", d_kv=10),
    "mt5": T5 | dict(model_type="mt5", architectures=["MT5EncoderModel"]),
    "umt5": T5 | dict(model_type="umt5", architectures=["UMT5EncoderModel"], dtype="bfloat16"),
    "t5-whole": T5 | dict(architectures=["T5ForConditionalGeneration"], num_decoder_layers=3),
    "t5-whole-gated": T5 | dict(architectures=["T5ForConditionalGeneration"], feed_forward_proj="gated-gelu",
                                tie_word_embeddings=False, torch_dtype="float16"),
    "t5-headless": T5 | dict(architectures=["T5Model"]),
    "mt5-whole": T5 | dict(model_type="mt5", architectures=["MT5ForConditionalGeneration"], tie_word_embeddings=False),
    "umt5-whole": T5 | dict(model_type="umt5", architectures=["UMT5ForConditionalGeneration"], num_decoder_layers=1),
    "umt5-relu": T5 | dict(model_type="umt5", architectures=["UMT5EncoderModel"], feed_forward_proj="relu"),
    "clip": CLIP,
    "clip-projected": CLIP | dict(architectures=["CLIPTextModelWithProjection"], hidden_act="gelu", dtype="float16"),
    "clip-longer": CLIP | dict(max_position_embeddings=128),
    "vit": VIT,
    "vit-labels": {k: v for k, v in VIT.items() if k != "num_labels"}
                  | dict(id2label={"0": "cat", "1": "dog", "2": "eel"}, qkv_bias=False),
    "vit-alone": VIT | dict(architectures=["ViTModel"], num_channels=1, pooler_output_size=32, pooler_act="relu"),
    "vit-two-labels": {k: v for k, v in VIT.items() if k != "num_labels"} | dict(hidden_act="gelu_new"),
    "whisper": WHISPER,
    "whisper-variant": WHISPER | dict(tie_word_embeddings=False, torch_dtype="float16", activation_function="relu"),
    "whisper-alone": WHISPER | dict(architectures=["WhisperModel"]),
}

# The classes that transformers 5 made out of other modules: names, shapes and counts are compared, not the tree.
RESTRUCTURED = {
    "clip_text_model": [(r"^(?!text_model\.|text_projection)", "text_model.")],
    "vit": [(r"(^|\.)layers\.(\d+)\.", r"\1encoder.layer.\2."),
            (r"attention\.(q|k|v)_proj", lambda m: "attention.attention."
             + {"q": "query", "k": "key", "v": "value"}[m.group(1)]),
            (r"attention\.o_proj", "attention.output.dense"), (r"mlp\.fc1", "intermediate.dense"),
            (r"mlp\.fc2", "output.dense")],
}


def shape(t):
    return "[" + ", ".join(str(d) for d in t["shape"]) + "]:" + t["dtype"]


def lines(node, name):
    out = [name or ".", node["class"]]
    out += [p["name"] + shape(p) for p in node.get("params", [])]
    out += ["~" + b["name"] + shape(b) + ("" if b["persistent"] else "!") for b in node.get("buffers", [])]
    result = [" ".join(out)]
    for key, child in node.get("children", []):
        assert "same_module_object_as" not in child
        result += lines(child, name + "." + key if name else key)
    return result


def flat(model, rules):
    for name, p in model.named_parameters():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        yield name + shape({"shape": p.shape, "dtype": str(p.dtype)[6:]})


def tree(config):
    model = dump_modules.build(config)
    dumped = dump_modules.dump(model)
    body = lines(dumped["root"], "")
    if config["model_type"] in RESTRUCTURED:
        body = sorted(flat(model, RESTRUCTURED[config["model_type"]]))
        head = "%d parameters, %d elements" % (len(body), sum(p.numel() for p in model.parameters()))
        return [head] + body
    classes = {line.split(" ")[1] for line in body}
    # A class list that names classes of a sibling model too (CLIP's vision tower) is cut to those of this tree.
    no_split = [c for c in dumped["no_split_modules"] if c in classes]
    head = "%d modules, %d parameters, %d elements; %s" % (
        len(body), sum(1 for _ in model.named_parameters()), sum(p.numel() for p in model.parameters()),
        ", ".join(no_split))
    tied = ["tied: %s = %s" % (g[0], copy) for g in dumped["tied_groups"] for copy in g[1:]]
    return [head] + body + tied


def main():
    out = []
    for name, config in CASES.items():
        out.append("== %s %s" % (name, json.dumps(config)))
        out += tree(config)
    with open(sys.argv[1], "w") as f:
        f.write("\n".join(out) + "\n")


main()
