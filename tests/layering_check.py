"""Checks what the compiler and BUILD visibility let pass: who includes whom, which system headers appear where, and how
long files are. The arrows are section 3 of the design (docs/impl.md).

    python3 tests/layering_check.py [ROOT]        one line per violation; exit code 1 if there is any

A file longer than the limits says why in its file comment: "Long because …" or "Longer than most files: …".
"""

import os
import re
import sys

# Folder -> the folders it may include. Arrows are transitive: who sees planner/plan sees what planner/plan sees.
# The innermost folder named here decides: planner/base/foo.h belongs to planner/base.
ARROWS = {
    "planner/base": [],
    "planner/model": ["planner/base"],
    "planner/formats": ["planner/model"],
    "planner/families": ["planner/model", "planner/formats"],
    "planner/quant": ["planner/families"],
    "planner/zoo": ["planner/families"],
    "planner/realize": ["planner/model"],
    "planner/machine": ["planner/model", "planner/formats"],  # dtypes: rates are given per dtype; the scanner: profiles
    "planner/cost": ["planner/schedule"],  # beyond the design: a cost is asked for a step
    "planner/schedule": ["planner/realize", "planner/machine"],
    "planner/plan": ["planner/schedule", "planner/formats"],  # the scanner: plan files
    "planner/solve": ["planner/plan", "planner/cost"],
    # Beyond the design: it asks families for the passes' op graphs, quant for what a request needs beside the weights.
    "planner/strategy": ["planner/solve", "planner/families", "planner/quant"],
    "sim/timeline": ["planner/base"],
    "sim/memory": ["planner/schedule"],
    "sim/engine": ["planner/schedule", "planner/cost", "sim/memory", "sim/timeline"],  # it makes the timeline
    "sim/rank": ["planner/strategy", "sim/engine"],
    "kernels": [],
    "exec": ["planner/schedule", "planner/formats", "planner/machine", "sim/timeline", "kernels"],
    "reports": ["sim/timeline", "planner/plan", "sim/rank"],
    "tools": ["planner/quant", "planner/zoo", "planner/strategy", "sim/rank", "exec", "reports"],
    "tests": ["planner/quant", "planner/zoo", "planner/strategy", "sim/rank", "exec", "reports"],
}

# What the tests and benchmarks beside the code may see in addition, each with its reason.
TEST_ARROWS = {
    "planner/quant": ["planner/zoo"],  # schemes are tried on public models, which have names there
    "planner/strategy": ["planner/zoo"],  # strategies are tried on public models, which have names there
    "sim/rank": ["planner/zoo"],  # likewise
}

TOP_LEVEL = sorted({folder.split("/")[0] for folder in ARROWS})
SOURCES = (".h", ".cuh", ".cc", ".cu")
HEADERS = (".h", ".cuh")

CUDA = re.compile(r"^(cuda|cublas|cusparse|cusolver|curand|nccl|nvml|nvrtc|nvtx3/|device_launch|device_types|driver_types|"
                  r"vector_types|vector_functions|host_defines|sm_\d|mma\.h|cooperative_groups|cub/|thrust/|cutlass)")
CUDA_FOLDERS = ("exec/cuda/", "kernels/emulation/")
CUDA_FILES = (
    "kernels/device.h",  # what the .cu files share: CUDA's headers, or the emulation's
    "kernels/cublaslt.cc",  # built against the toolkit's types, which are opened at run time
    "kernels/gpu_test.cc",
    "kernels/gpu_bench.cc",
)
IMPURE = re.compile(r"^(chrono|thread|random|ctime|time\.h|sys/time\.h|pthread\.h|future|stop_token)$")
IMPURE_CALL = re.compile(r"\b(std::random_device|clock_gettime|gettimeofday|std::getenv|getenv|std::rand|srand)\s*[({]")
PURE_FOLDERS = ("planner/", "sim/", "reports/")
SLOW_HEADERS = re.compile(r"^(nlohmann/json\.hpp|CLI/|fmt/compile\.h)")  # 2-4 s per translation unit

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
LIMITS = {".h": 150, ".cuh": 150, ".cc": 400, ".cu": 400}
EXCUSE = re.compile(r"//.*\bLong(er than [^:]*?)?( because|:)")


def reachable(arrows):
    """The transitive closure of the arrows."""
    seen = {}

    def visit(folder):
        if folder not in seen:
            seen[folder] = set(arrows[folder]).union(*(visit(lower) for lower in arrows[folder]))
        return seen[folder]

    for folder in arrows:
        visit(folder)
    return seen


def folder_of(path, arrows=ARROWS):
    """The innermost folder of the table that holds `path`; None if there is none."""
    parts = path.split("/")[:-1]
    while parts:
        if "/".join(parts) in arrows:
            return "/".join(parts)
        parts.pop()
    return None


def is_test(path):
    """Tests, benchmarks, fuzz targets, and what only they use: folders named testing, generators named random_*."""
    return path.startswith("tests/") or bool(re.search(r"_(test|bench|fuzz)\.(cc|cu)$|/testing/|/random_\w+\.(cc|h)$", path))


def read_tree(root):
    """{path from the root: text} of every source file under the top-level folders."""
    tree = {}
    for top in TOP_LEVEL:
        for folder, subfolders, names in os.walk(os.path.join(root, top)):
            subfolders.sort()
            for name in sorted(names):
                if name.endswith(SOURCES):
                    path = os.path.join(folder, name)
                    with open(path, encoding="utf-8", errors="replace") as file:
                        tree[os.path.relpath(path, root)] = file.read()
    return tree


def includes_of(text):
    """(line number, is a quoted include, what is included)."""
    for number, line in enumerate(text.splitlines(), start=1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def check_arrows(path, text, allowed):
    mine = folder_of(path)
    if mine is None:
        yield f"{path}: its folder is in no row of ARROWS in tests/layering_check.py"
        return
    sees = allowed[mine] | {mine} | set(TEST_ARROWS.get(mine, []) if is_test(path) else [])
    for number, quoted, target in includes_of(text):
        if not quoted:
            if target.split("/")[0] in TOP_LEVEL:
                yield f"{path}:{number}: <{target}> is ours: include it with quotes"
            continue
        theirs = folder_of(target)
        if target.split("/")[0] not in TOP_LEVEL:
            yield f'{path}:{number}: "{target}": our headers are included by their path from the root, others with <>'
        elif theirs is None:
            yield f'{path}:{number}: "{target}": its folder is in no row of ARROWS in tests/layering_check.py'
        elif theirs not in sees:
            yield f'{path}:{number}: {mine} may not include {theirs} ("{target}")'


def check_cuda(path, text):
    knows_cuda = path in CUDA_FILES or path.startswith(CUDA_FOLDERS) or re.match(r"kernels/.*\.(cu|cuh)$", path)
    for number, _, target in includes_of(text):
        if CUDA.match(target) and not knows_cuda:
            yield f"{path}:{number}: <{target}>: only exec/cuda, kernels/*.cu and kernels/emulation know CUDA"


def check_purity(path, text):
    if not path.startswith(PURE_FOLDERS) or is_test(path):
        return
    rule = "planner, sim and reports read no clock, own no thread and draw no random number"
    for number, _, target in includes_of(text):
        if IMPURE.match(target):
            yield f"{path}:{number}: <{target}>: {rule}"
    for number, line in enumerate(text.splitlines(), start=1):
        call = IMPURE_CALL.search(line.split("//")[0])
        if call:
            yield f"{path}:{number}: {call.group(1)}: {rule}"


def check_headers(path, text):
    for number, _, target in includes_of(text):
        if path.endswith(HEADERS) and SLOW_HEADERS.match(target):
            yield f"{path}:{number}: <{target}> in a header costs every includer seconds; include it in a .cc"
        if target == "iostream" and not is_test(path) and not path.startswith("tools/"):
            yield f"{path}:{number}: <iostream>: libraries return text, tools print it"


def check_length(path, text):
    limit = LIMITS[os.path.splitext(path)[1]]
    lines = text.splitlines()
    if len(lines) <= limit:
        return
    for line in lines:
        if not line.startswith("//"):
            break
        if EXCUSE.match(line):
            return
    yield f"{path}: {len(lines)} lines, the limit is {limit}: split it, or say why in the file comment (// Long because …)"


def check_cuda_sources_see_no_fmt(tree):
    """nvcc rejects fmt 9's compile-time format strings: no .cu may reach fmt through our headers."""
    for path in sorted(tree):
        if not path.endswith(".cu"):
            continue
        waiting, via = [path], {path: ""}
        while waiting:
            current = waiting.pop()
            for number, quoted, target in includes_of(tree[current]):
                if target.startswith("fmt/"):
                    yield f"{current}:{number}: <{target}> is reached from {path}, and nvcc does not compile it"
                elif quoted and target in tree and target not in via:
                    via[target] = current
                    waiting.append(target)


def violations(tree):
    allowed = reachable(ARROWS)
    found = []
    for path in sorted(tree):
        text = tree[path]
        found += check_arrows(path, text, allowed)
        for check in (check_cuda, check_purity, check_headers, check_length):
            found += check(path, text)
    return found + list(check_cuda_sources_see_no_fmt(tree))


def main(root):
    tree = read_tree(root)
    found = violations(tree)
    for line in found:
        print(line)
    if not tree:
        print(f"no sources under {root}")
    print(f"layering: {len(tree)} files, {len(found)} violations")
    return 1 if found or not tree else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.realpath(__file__)), "..")))
