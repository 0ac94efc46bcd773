"""The tree keeps its layers, and the check that says so catches a violation of each of its rules."""

import os
import tempfile
import unittest

import bazel_unittest
import layering_check


class TheRealTree(unittest.TestCase):
    def test_has_no_violation(self):
        root = os.path.dirname(os.path.dirname(os.path.realpath(layering_check.__file__)))
        tree = layering_check.read_tree(root)
        self.assertIn("planner/base/units.h", tree)
        self.assertEqual([], layering_check.violations(tree))

    def test_has_no_cycle_in_its_arrows(self):
        for folder, below in layering_check.reachable(layering_check.ARROWS).items():
            self.assertNotIn(folder, below)


class TheCheck(unittest.TestCase):
    def assert_only(self, expected, tree):
        self.assertEqual([expected] if isinstance(expected, str) else expected, layering_check.violations(tree))

    def test_passes_a_tree_that_keeps_the_rules(self):
        self.assert_only([], {
            "planner/plan/plan.cc": '#include "planner/plan/plan.h"\n#include <vector>\n#include <nlohmann/json.hpp>\n',
            "planner/plan/plan.h": '#include "planner/base/units.h"\n#include "planner/schedule/schedule.h"\n',
            "exec/cuda/runtime.h": "#include <cuda_runtime.h>\n#include <thread>\n",
            "kernels/softmax.cu": '#include <cuda_fp16.h>\n#include "kernels/softmax.h"\n',
            "kernels/softmax.h": "#pragma once\n",
            "tools/plan.cc": '#include <iostream>\n#include <CLI/CLI.hpp>\n#include "exec/run/run.h"\n',
        })

    def test_catches_an_arrow_that_points_down(self):
        self.assert_only(
            'planner/base/units.h:2: planner/base may not include planner/plan ("planner/plan/plan.h")',
            {"planner/base/units.h": '#pragma once\n#include "planner/plan/plan.h"\n'})

    def test_catches_an_executor_that_chooses(self):
        self.assert_only(
            'exec/run/run.cc:1: exec may not include planner/strategy ("planner/strategy/ring.h")',
            {"exec/run/run.cc": '#include "planner/strategy/ring.h"\n'})

    def test_catches_a_kernel_that_knows_us(self):
        self.assert_only(
            'kernels/rms_norm.cu:1: kernels may not include planner/base ("planner/base/units.h")',
            {"kernels/rms_norm.cu": '#include "planner/base/units.h"\n'})

    def test_catches_anyone_who_includes_a_tool(self):
        self.assert_only(
            'tests/plan_test.cc:1: tests may not include tools ("tools/plan.h")',
            {"tests/plan_test.cc": '#include "tools/plan.h"\n'})

    def test_holds_tests_beside_the_code_to_the_same_arrows(self):
        self.assert_only(
            'sim/engine/engine_test.cc:1: sim/engine may not include planner/strategy ("planner/strategy/ring.h")',
            {"sim/engine/engine_test.cc": '#include "planner/strategy/ring.h"\n'})

    def test_catches_a_folder_without_a_row(self):
        self.assert_only(
            ['planner/magic/m.cc: its folder is in no row of ARROWS in tests/layering_check.py',
             'planner/model/m.cc:1: "planner/magic/m.h": its folder is in no row of ARROWS in tests/layering_check.py'],
            {"planner/magic/m.cc": "", "planner/model/m.cc": '#include "planner/magic/m.h"\n'})

    def test_catches_relative_and_angled_includes_of_ours(self):
        self.assert_only(
            ['planner/model/m.cc:1: "m.h": our headers are included by their path from the root, others with <>',
             'planner/model/m.cc:2: <planner/base/units.h> is ours: include it with quotes'],
            {"planner/model/m.cc": '#include "m.h"\n#include <planner/base/units.h>\n'})

    def test_catches_cuda_outside_its_places(self):
        for path in ["exec/run/run.cc", "kernels/softmax.h", "sim/memory/pool.cc", "tools/plan.cc"]:
            for header in ["cuda_runtime.h", "cublasLt.h", "nccl.h", "mma.h", "cub/cub.cuh"]:
                self.assert_only(
                    f"{path}:1: <{header}>: only exec/cuda, kernels/*.cu and kernels/emulation know CUDA",
                    {path: f"#include <{header}>\n"})

    def test_catches_clocks_threads_and_chance_in_planner_sim_and_reports(self):
        rule = "planner, sim and reports read no clock, own no thread and draw no random number"
        for path in ["planner/solve/s.cc", "sim/engine/e.h", "reports/text.cc"]:
            for header in ["chrono", "thread", "random"]:
                self.assert_only(f"{path}:1: <{header}>: {rule}", {path: f"#include <{header}>\n"})
            self.assert_only(f"{path}:1: getenv: {rule}", {path: 'auto home = getenv("HOME");\n'})
        self.assert_only([], {"planner/solve/s_test.cc": "#include <random>\n"})

    def test_catches_slow_headers_in_headers(self):
        for header in ["nlohmann/json.hpp", "CLI/CLI.hpp"]:
            self.assert_only(
                f"tools/args.h:1: <{header}> in a header costs every includer seconds; include it in a .cc",
                {"tools/args.h": f"#include <{header}>\n"})

    def test_catches_iostream_in_a_library(self):
        self.assert_only("reports/text.cc:1: <iostream>: libraries return text, tools print it",
                         {"reports/text.cc": "#include <iostream>\n"})

    def test_catches_fmt_in_a_header_that_a_cu_reaches(self):
        self.assert_only(
            "kernels/shape.h:1: <fmt/format.h> is reached from kernels/softmax.cu, and nvcc does not compile it",
            {"kernels/softmax.cu": '#include "kernels/softmax.h"\n',
             "kernels/softmax.h": '#include "kernels/shape.h"\n',
             "kernels/shape.h": "#include <fmt/format.h>\n"})

    def test_catches_long_files_without_a_reason(self):
        line = "int x;\n"
        self.assert_only([], {"sim/rank/r.h": line * 150, "sim/rank/r.cc": line * 400})
        self.assert_only(
            "sim/rank/r.h: 151 lines, the limit is 150: split it, or say why in the file comment (// Long because …)",
            {"sim/rank/r.h": line * 151})
        self.assert_only(
            "sim/rank/r.cc: 401 lines, the limit is 400: split it, or say why in the file comment (// Long because …)",
            {"sim/rank/r.cc": line * 401})
        for reason in ["// Long because: one table.", "// Tables. Longer than most files: they are many."]:
            self.assert_only([], {"sim/rank/r.cc": f"// Ranks.\n{reason}\n" + line * 500})

    def test_takes_a_reason_only_from_the_file_comment(self):
        found = layering_check.violations({"sim/rank/r.h": "int y;\n// Long because: of this.\n" + "int x;\n" * 150})
        self.assertEqual(1, len(found))

    def test_reads_a_tree_from_disk(self):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "planner/base"))
            with open(os.path.join(root, "planner/base/a.h"), "w", encoding="utf-8") as file:
                file.write("#include <thread>\n")
            self.assertEqual(["planner/base/a.h"], list(layering_check.read_tree(root)))
            self.assertEqual(1, layering_check.main(root))
        with tempfile.TemporaryDirectory() as empty:
            self.assertEqual(1, layering_check.main(empty))


if __name__ == "__main__":
    bazel_unittest.main()
