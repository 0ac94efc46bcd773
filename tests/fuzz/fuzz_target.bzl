"""fuzz_target: one LLVMFuzzerTestOneInput, two uses.

    load("//tests/fuzz:fuzz_target.bzl", "fuzz_target")
    fuzz_target(name = "gguf_fuzz", srcs = ["gguf_fuzz.cc"], corpus = glob(["corpus/gguf/*"]), deps = [":gguf"])

Everywhere it is a regression test: each file of `corpus`, and each of a few hundred deterministic mutations of them, is
fed to the target once (replay_main.cc). Under --config=fuzz it is a libFuzzer binary: `./dev fuzz gguf_fuzz 60`.
A crash that libFuzzer finds goes into `corpus`, so that it stays fixed.
"""

def fuzz_target(name, srcs = [], corpus = [], deps = [], size = "small", **kwargs):
    native.cc_test(
        name = name,
        size = size,
        srcs = srcs,
        args = ["$(rootpaths %s)" % file for file in corpus],
        data = corpus,
        tags = ["fuzz"],
        linkopts = select({
            "//tests/fuzz:libfuzzer": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps + select({
            "//tests/fuzz:libfuzzer": [],
            "//conditions:default": ["//tests/fuzz:replay_main"],
        }),
        **kwargs
    )
