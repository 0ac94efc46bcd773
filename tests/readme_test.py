"""What the README shows is what the tools print. First the checker itself, then the page."""

import os
import sys
import unittest

import bazel_unittest
import readme_check
from readme_check import matches, run_page, snippets_of

PAGE = """
Not this: $ false
```console
$ printf 'one\\ntwo\\n'
one
two
$ printf 'a %s b\\n' 17; false
a ... b
$ echo $?
1
```
```cpp
$ not a command
```
"""


class TheChecker(unittest.TestCase):
    def test_finds_commands_and_their_output_in_console_fences_only(self):
        found = snippets_of(PAGE)
        self.assertEqual(["printf 'one\\ntwo\\n'", "printf 'a %s b\\n' 17; false", "echo $?"],
                         [s.command for s in found])
        self.assertEqual([["one", "two"], ["a ... b"], ["1"]], [s.expected for s in found])

    def test_joins_continued_lines(self):
        (snippet,) = snippets_of("```console\n$ echo a \\\n  b\na b\n```\n")
        self.assertEqual("echo a \\\n  b", snippet.command)
        self.assertEqual(["a b"], snippet.expected)

    def test_passes_a_page_that_is_true(self):
        self.assertEqual(([], 3, []), run_page(PAGE, {}))

    def test_catches_output_that_differs(self):
        problems, _, _ = run_page("```console\n$ echo 16.1 GB\n16.2 GB\n```\n", {})
        self.assertEqual(["line 2: `echo 16.1 GB` (exit code 0)\n  - 16.2 GB\n  + 16.1 GB\n"], problems)

    def test_catches_missing_surplus_and_reordered_lines(self):
        for shown in ["", "a\n", "b\na\n", "a\nb\nc\n"]:
            problems, _, _ = run_page(f"```console\n$ printf 'a\\nb\\n'\n{shown}```\n", {})
            self.assertEqual(1, len(problems), shown)

    def test_catches_a_tool_that_does_not_exist(self):
        problems, _, _ = run_page("```console\n$ ./dev run plan --gpu 1GB\nfits\n```\n", {})
        self.assertEqual(1, len(problems))

    def test_runs_a_tool_by_its_dev_command_and_by_its_name(self):
        page = "```console\n$ ./dev run say hi\nhi\n$ say hi\nhi\n```\n"
        self.assertEqual(([], 2, []), run_page(page, {"say": "/bin/echo"}))

    def test_lets_a_command_read_what_an_earlier_one_wrote(self):
        self.assertEqual(([], 2, []), run_page("```console\n$ echo x > file\n$ cat file\nx\n```\n", {}))

    def test_names_what_it_does_not_run(self):
        self.assertEqual(([], 0, ["./dev test"]), run_page("```console\n$ ./dev test\n1 passed\n```\n", {}))

    def test_wildcards_do_not_cross_lines_unless_alone(self):
        self.assertTrue(matches(["a ... c"], ["a b c"]))
        self.assertFalse(matches(["a ... c"], ["a b", "c"]))
        self.assertTrue(matches(["a", "...", "d"], ["a", "b", "c", "d"]))
        self.assertTrue(matches(["a", "...", "d"], ["a", "d"]))
        self.assertFalse(matches(["a", "...", "d"], ["a", "b"]))


class TheReadme(unittest.TestCase):
    def test_shows_what_the_tools_print(self):
        root = os.path.dirname(os.path.dirname(os.path.realpath(readme_check.__file__)))
        readme = os.path.join(root, "README.md")
        if not os.path.exists(readme):
            self.skipTest("there is no README.md yet")
        with open(readme, encoding="utf-8") as file:
            text = file.read()
        if not snippets_of(text):
            self.skipTest("README.md has no ```console snippets yet")
        tools = {os.path.basename(path): path for path in sys.argv[1:]}
        problems, ran, not_run = run_page(text, tools, os.environ.get("STOWAGE_SHARED"))
        print(f"{ran} commands run; not run: {not_run}")
        self.assertEqual([], problems, "\n".join(problems))
        self.assertGreater(ran, 0)


if __name__ == "__main__":
    bazel_unittest.main()
