"""Checks that each target names, in its own deps, the targets whose headers its files include. gcc does not mind a header
that comes by way of another target; clang's layering_check, which the fuzzing builds use, does.

    python3 tests/deps_check.py [ROOT]        one line per violation; exit code 1 if there is any

BUILD files are Python to the extent that we write them: each is run with rules that only note what they are given.
"""

import glob
import os
import sys

import layering_check


def _select(branches):
    return [item for branch in branches.values() for item in branch]  # what any configuration may name


class _Rules(dict):
    """The names a BUILD file may call. A call with a name is noted as (package, its arguments)."""

    def __init__(self, root, package, noted):
        super().__init__(select=_select, glob=self._glob, if_cuda=lambda then, otherwise=(): [*then, *otherwise],
                         load=lambda *_: None, package=lambda **_: None)
        self.root, self.package, self.noted = root, package, noted

    def __missing__(self, rule):
        return self._note

    def _note(self, *_, **arguments):
        if "name" in arguments:
            self.noted.append((self.package, arguments))

    def _glob(self, patterns, exclude=(), **_):
        folder = os.path.join(self.root, self.package)
        return sorted(os.path.relpath(path, folder) for pattern in patterns
                      for path in glob.glob(os.path.join(folder, pattern), recursive=True))


def _label(package, name):
    """//package:name of a label as written in `package`."""
    if not name.startswith("//"):
        return f"//{package}:{name.removeprefix(':')}"
    return name if ":" in name else f"{name}:{name.rsplit('/', 1)[-1]}"


def _path(package, name):
    return _label(package, name)[2:].replace(":", "/").lstrip("/")


def read_targets(root):
    """{label: (its files, its headers for others, its deps)} of every rule under the top-level folders."""
    targets = {}
    for top in layering_check.TOP_LEVEL:
        for folder, _, names in os.walk(os.path.join(root, top)):
            if "BUILD" not in names:
                continue
            package, noted = os.path.relpath(folder, root), []
            with open(os.path.join(folder, "BUILD"), encoding="utf-8") as file:
                exec(compile(file.read(), f"{package}/BUILD", "exec"), _Rules(root, package, noted))
            for package, arguments in noted:
                headers = {_path(package, file) for file in arguments.get("hdrs", [])}
                files = headers | {_path(package, file) for file in arguments.get("srcs", []) if isinstance(file, str)}
                deps = {_label(package, dep) for dep in arguments.get("deps", [])}
                targets[_label(package, arguments["name"])] = (files, headers, deps)
    return targets


def violations(tree, targets):
    """`tree`: as layering_check.read_tree gives it."""
    owners = {}
    for label, (_, headers, _) in targets.items():
        for header in headers:
            owners.setdefault(header, set()).add(label)
    for label, (files, _, deps) in sorted(targets.items()):
        for path in sorted(files & tree.keys()):
            for number, quoted, header in layering_check.includes_of(tree[path]):
                if quoted and header in owners and header not in files and not owners[header] & deps:
                    yield f'{path}:{number}: "{header}" is of {" or ".join(sorted(owners[header]))}, which {label} does not name in its deps'


def main(root):
    targets = read_targets(root)
    found = list(violations(layering_check.read_tree(root), targets))
    for line in found:
        print(line)
    print(f"deps: {len(targets)} targets, {len(found)} violations")
    return 1 if found or not targets else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.realpath(__file__)), "..")))
