"""Runs the ```console snippets of a Markdown page and compares what they print.

    ```console
    $ ./dev run plan --gpu 15GB --model llama-8b        a command; the lines below it are what it prints
    llama-8b  8,030,261,248 parameters  ...             "..." in a line stands for any text within the line
    ...                                                 a line of only "..." stands for any number of lines
    $ plan --gpu 1MB --model llama-8b; echo $?          a tool's bare name works too, and so does the shell
    ```

Commands run in order, in one shell session per page and one fresh folder, so one may read what another wrote. `./dev
run TOOL` and `TOOL` mean the binary under test. A line is continued after a trailing backslash. Commands that a test
cannot run (cloning, installing, the test suite itself) are listed in NOT_RUN, and reported as such.
"""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

NOT_RUN = re.compile(r"^(git clone|cd |sudo |apt|\./dev (setup|build|test|bench|lint|sanitize|fuzz|gpu-check|install|clean)\b)")
TIMEOUT_SECONDS = 60


@dataclass
class Snippet:
    line: int  # of the command, from 1
    command: str
    expected: list


def snippets_of(text):
    """The commands inside ```console fences, each with its expected lines."""
    found, inside, continued = [], False, False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            inside = not inside and line.strip() == "```console"
        elif inside and continued:
            continued = line.endswith("\\")
            found[-1].command += "\n" + line
        elif inside and line.startswith("$ "):
            continued = line.endswith("\\")
            found.append(Snippet(number, line[2:], []))
        elif inside and found:
            found[-1].expected.append(line.rstrip())
    return found


def matches(expected, actual):
    """Whether `actual` lines are the `expected` ones, "..." standing for any text or any lines."""
    pattern = ""
    for line in expected:
        if line.strip() == "...":
            pattern += r"(?:.*\n)*"
        else:
            pattern += ".*".join(re.escape(part) for part in line.split("...")) + r"[ \t]*\n"
    return re.fullmatch(pattern, "".join(line + "\n" for line in actual)) is not None


def translated(command):
    """`./dev run plan` becomes `plan`, which is found in PATH."""
    return re.sub(r"\./dev run (\w+)", r"\1", command)


def run_page(text, tools, shared=None):
    """Runs a page's snippets with `tools` ({name: path}). Returns (problems, number run, commands not run)."""
    problems, ran, not_run = [], 0, []
    folder = tempfile.mkdtemp(prefix="readme")
    try:
        os.mkdir(os.path.join(folder, ".bin"))
        for name, path in tools.items():
            os.symlink(os.path.abspath(path), os.path.join(folder, ".bin", name))
        environment = {"PATH": os.path.join(folder, ".bin") + ":/usr/bin:/bin", "HOME": folder, "LC_ALL": "C.UTF-8"}
        if shared:
            environment["STOWAGE_SHARED"] = shared
        status = 0
        for snippet in snippets_of(text):
            if NOT_RUN.match(snippet.command):
                not_run.append(snippet.command)
                continue
            ran += 1
            script = f"(exit {status})\n{translated(snippet.command)}"
            try:
                done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                problems.append(f"line {snippet.line}: `{snippet.command}` ran for more than {TIMEOUT_SECONDS} s")
                continue
            status = done.returncode
            actual = [line.rstrip() for line in done.stdout.decode("utf-8", "replace").splitlines()]
            if not matches(snippet.expected, actual):
                problems.append(f"line {snippet.line}: `{snippet.command}` (exit code {status})\n"
                                + "".join(f"  - {line}\n" for line in snippet.expected)
                                + "".join(f"  + {line}\n" for line in actual))
    finally:
        shutil.rmtree(folder)
    return problems, ran, not_run
