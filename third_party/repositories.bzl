"""Every external repository; all of them are local."""

# System headers. The compiler would find them in /usr/include by itself, but Bazel
# does not track files there: after a package upgrade it would reuse old objects.
# Through an include root of its own each header becomes an input.
_LIBRARY = 'cc_library(name = "{n}", hdrs = glob(["{n}/**"], exclude = ["**/CMakeLists.txt"]), includes = ["{n}"])\n'

def _system_headers_impl(rctx):
    build = 'package(default_visibility = ["//visibility:public"])\n'
    for name, paths in rctx.attr.libraries.items():
        for p in paths:
            if not rctx.path(p).exists:
                fail("%s: no %s; install its -dev package" % (name, p))
            rctx.symlink(p, name + "/" + p.rsplit("/", 1)[1])
        build += _LIBRARY.format(n = name)
    rctx.file("BUILD", build)

_system_headers = repository_rule(
    _system_headers_impl, attrs = {"libraries": attr.string_list_dict()}, configure = True, local = True)

# CUDA. STOWAGE_CUDA = auto (default) | 0 (act as if absent) | 1 (must be there).
_DEFS = """CUDA_NVCC = "{nvcc}"
CUDA_AVAILABLE = {available}
CUDA_HAVE_NCCL = {nccl}
def if_cuda(yes, no = []):
    return yes if CUDA_AVAILABLE else no
"""

def _cuda_configure_impl(rctx):
    mode = rctx.os.environ.get("STOWAGE_CUDA", "auto")
    roots = [r for r in [rctx.os.environ.get("CUDA_HOME"), "/usr/local/cuda"] if r and mode != "0"]
    roots = [r for r in roots if rctx.path(r + "/bin/nvcc").exists]
    if not roots:
        if mode == "1":
            fail("STOWAGE_CUDA=1 but there is no CUDA toolkit")
        rctx.file("defs.bzl", _DEFS.format(nvcc = "", available = False, nccl = False))
        rctx.file("BUILD", "")
        return
    root = roots[0]
    nccl = rctx.path(root + "/include/nccl.h").exists
    rctx.file("defs.bzl", _DEFS.format(nvcc = root + "/bin/nvcc", available = True, nccl = nccl))
    rctx.file("nvcc_version.txt", rctx.execute([root + "/bin/nvcc", "--version"]).stdout)
    rctx.symlink(root + "/include", "include")
    rctx.symlink(root + "/lib64/libcudart_static.a", "libcudart_static.a")
    rctx.template("BUILD", Label("//third_party:cuda.BUILD"))

_cuda_configure = repository_rule(
    _cuda_configure_impl, environ = ["STOWAGE_CUDA", "CUDA_HOME"], configure = True, local = True)

def stowage_repositories():
    if not native.bazel_version:  # Debian's Bazel; an official one keeps its own rules
        for name in ["rules_cc", "rules_java", "remote_coverage_tools"]:
            native.local_repository(name = name, path = "third_party/stubs/" + name)
    _system_headers(name = "system_headers", libraries = {
        "benchmark": ["/usr/include/benchmark"], "cli11": ["/usr/include/CLI"],
        "eigen": ["/usr/include/eigen3/Eigen"], "fmt": ["/usr/include/fmt"],
        "gtest": ["/usr/include/gmock", "/usr/include/gtest"], "json": ["/usr/include/nlohmann"],
        "rapidcheck": ["/usr/include/rapidcheck", "/usr/include/rapidcheck.h"],
        "zlib": ["/usr/include/zconf.h", "/usr/include/zlib.h"],
    })
    _cuda_configure(name = "local_cuda")
