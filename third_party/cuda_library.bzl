"""cuda_library: a cc_library whose .cu sources nvcc compiles; skipped without CUDA."""
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")
load("@local_cuda//:defs.bzl", "CUDA_AVAILABLE", "CUDA_NVCC")

_ARCHS = "75,80,86,89,90"  # SASS for each, PTX for the last; quick build: --define=cuda_archs=80
_MODE = {"fastbuild": ["-O1"], "opt": ["-O3", "-DNDEBUG"], "dbg": ["-O0", "-g", "-lineinfo"]}

def _nvcc_objects_impl(ctx):
    cc = find_cpp_toolchain(ctx)
    dep = cc_common.merge_cc_infos(cc_infos = [d[CcInfo] for d in ctx.attr.deps]).compilation_context
    archs = ctx.var.get("cuda_archs", _ARCHS).split(",")
    args = ctx.actions.args()
    args.add_all(["-std=c++20", "-ccbin", cc.compiler_executable, "-Xcompiler=-fPIC,-Wall,-Wextra"])
    args.add_all(["-gencode=arch=compute_%s,code=sm_%s" % (a, a) for a in archs])
    args.add("-gencode=arch=compute_%s,code=compute_%s" % (archs[-1], archs[-1]))
    args.add_all(_MODE[ctx.var["COMPILATION_MODE"]] + ctx.attr.copts)
    args.add_all(dep.defines, format_each = "-D%s")
    args.add_all([".", ctx.bin_dir.path] + dep.includes.to_list(), before_each = "-I")
    args.add_all(dep.system_includes, before_each = "-isystem")
    objects = []
    for src in ctx.files.srcs:
        obj = ctx.actions.declare_file("%s/%s.o" % (ctx.label.name, src.basename[:-len(".cu")]))
        ctx.actions.run(
            mnemonic = "NvccCompile",
            executable = CUDA_NVCC,
            arguments = [args, "-c", src.path, "-o", obj.path],
            inputs = depset([src, ctx.file._version] + ctx.files.hdrs, transitive = [dep.headers]),
            outputs = [obj],
            tools = cc.all_files,
            env = {"PATH": "/usr/bin:/bin"},
        )
        objects.append(obj)
    return [DefaultInfo(files = depset(objects))]

_nvcc_objects = rule(
    implementation = _nvcc_objects_impl,
    attrs = {
        "srcs": attr.label_list(allow_files = [".cu"]),
        "hdrs": attr.label_list(allow_files = [".h", ".cuh"]),
        "deps": attr.label_list(providers = [CcInfo]),
        "copts": attr.string_list(),
        "_version": attr.label(default = "@local_cuda//:nvcc_version.txt", allow_single_file = True),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
    incompatible_use_toolchain_transition = True,
)

def cuda_library(name, srcs, hdrs = [], deps = [], copts = [], visibility = None):
    if not CUDA_AVAILABLE:
        native.cc_library(name = name, target_compatible_with = ["//third_party:never"], visibility = visibility)
        return
    deps = deps + ["@local_cuda//:cudart_static"]
    _nvcc_objects(name = name + "_nvcc", srcs = srcs, hdrs = hdrs, deps = deps, copts = copts)
    # cc_library takes .o files as sources: it brings linking, headers and module maps.
    native.cc_library(name = name, srcs = [":%s_nvcc" % name], hdrs = hdrs, deps = deps, visibility = visibility)
