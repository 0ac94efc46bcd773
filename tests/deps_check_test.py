"""Each target names what it includes, and the check that says so catches one that does not."""

import os
import tempfile
import unittest

import bazel_unittest
import deps_check
import layering_check

BASE = 'cc_library(name = "base", srcs = ["units.cc"], hdrs = ["units.h"])\n'
UNITS = '#include "planner/base/units.h"\n'


class TheRealTree(unittest.TestCase):
    def test_has_no_violation(self):
        root = os.path.dirname(os.path.dirname(os.path.realpath(deps_check.__file__)))
        targets = deps_check.read_targets(root)
        self.assertIn("//planner/base:base", targets)
        self.assertEqual([], list(deps_check.violations(layering_check.read_tree(root), targets)))


class TheCheck(unittest.TestCase):
    def violations(self, files):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            return list(deps_check.violations(layering_check.read_tree(root), deps_check.read_targets(root)))

    def with_plan(self, deps):
        return self.violations({
            "planner/base/BUILD": BASE, "planner/base/units.h": "", "planner/base/units.cc": UNITS,
            "planner/plan/BUILD": f'load("//x:x.bzl", "x")\ncc_test(name = "plan", srcs = glob(["*.cc"]), deps = {deps})\n',
            "planner/plan/plan.cc": "#include <vector>\n" + UNITS,
        })

    def test_passes_a_target_that_names_what_it_includes(self):
        self.assertEqual([], self.with_plan('["//planner/base"]'))
        self.assertEqual([], self.with_plan('["//x"] + select({"a": ["//planner/base:base"], "b": []})'))
        self.assertEqual([], self.with_plan('if_cuda(["//planner/base"])'))

    def test_catches_a_header_that_comes_by_way_of_another(self):
        self.assertEqual(['planner/plan/plan.cc:2: "planner/base/units.h" is of //planner/base:base, which '
                          '//planner/plan:plan does not name in its deps'], self.with_plan('["//planner/other"]'))


if __name__ == "__main__":
    bazel_unittest.main()
