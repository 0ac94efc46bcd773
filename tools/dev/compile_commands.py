"""Writes compile_commands.json for clang-tidy and clangd, from Bazel's action graph (nothing is built but
generated headers).

`bear` cannot do this: the compilers are started by the Bazel server.
"""

import json
import os
import subprocess
import sys

# --config=clang: clang-tidy is a clang; it would stumble over gcc's own flags. No module maps: they need built outputs.
FLAGS = ["--config=clang", "--features=-layering_check", "--noshow_progress"]


def bazel(*arguments):
    program = "/usr/bin/bazel" if os.path.exists("/usr/bin/bazel") else "bazel"
    return subprocess.run([program, *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stdout


def main():
    root = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
    os.chdir(root)
    try:
        external = bazel("info", *FLAGS, "output_base").strip() + "/external/"
        generated = bazel("query", "kind(genrule, //...)", "--output=label").split()
        if generated:
            keep = ["--experimental_convenience_symlinks=ignore"] if os.path.exists("bazel-out") else []
            bazel("build", *FLAGS, *keep, *generated)  # bazel-bin stays what the last real build made it
        graph = json.loads(bazel("aquery", *FLAGS, "--keep_going", "--output=jsonproto", 'mnemonic("CppCompile", //...)'))
    except subprocess.CalledProcessError as error:
        sys.exit(f"compile_commands.py: {error.stderr}")
    commands = {}
    for action in graph.get("actions", []):
        arguments = [external + a[len("external/"):] if a.startswith("external/") else a for a in action["arguments"]]
        source = arguments[arguments.index("-c") + 1]
        if not source.startswith(external):
            commands[source] = {"directory": root, "file": source, "arguments": arguments}
    new = json.dumps(list(commands.values()), indent=1)
    with open("compile_commands.json.new", "w", encoding="utf-8") as file:
        file.write(new)
    os.replace("compile_commands.json.new", "compile_commands.json")


if __name__ == "__main__":
    main()
