"""The page of `simulate --html` in a real browser: its script runs, and every stretch of time it offers can be drawn."""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import bazel_unittest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MOST_BYTES = 3_000_000

# Goes through all views and writes what it found, or what went wrong, where --dump-dom shows it.
PROBE = """<script>
addEventListener("error", (e) => document.documentElement.setAttribute("data-problem", e.message));
addEventListener("load", () => {
  const found = [];
  for (const button of document.querySelectorAll(".views button")) {
    button.click();
    const lanes = document.querySelectorAll("rect.idle").length;
    const busy = document.querySelectorAll("rect.busy").length;
    const bad = [...document.querySelectorAll("svg *")].filter((e) => [...e.attributes].some((a) => /NaN|Infinity|undefined/.test(a.value))).length;
    found.push([document.querySelectorAll("path.memory").length, lanes, busy > 0, bad].join("/"));
    const chart = document.querySelector("path.memory").ownerSVGElement, box = chart.getBoundingClientRect();
    chart.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + box.width / 2, clientY: box.top + 40 }));
    found.push(document.getElementById("tip").style.visibility);
  }
  document.documentElement.setAttribute("data-views", found.join(" "));
});
</script>"""


def browser():
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class ThePage(unittest.TestCase):
    def setUp(self):
        if browser() is None:
            self.skipTest(f"no browser: none of {', '.join(BROWSERS)} is installed")
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def page(self, *options):
        path = os.path.join(self.folder, "page.html")
        command = [os.path.abspath(sys.argv[1]), "--html", path, "--cpu", "64GB", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        self.assertLess(os.path.getsize(path), MOST_BYTES)
        with open(path, encoding="utf-8") as file:
            return file.read()

    def rendered(self, page):
        path = os.path.join(self.folder, "probed.html")
        with open(path, "w", encoding="utf-8") as file:
            file.write(page.replace("<body>", "<body>" + PROBE))
        command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                   f"--user-data-dir={self.folder}/profile", "--virtual-time-budget=5000", "--dump-dom", "file://" + path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        self.assertEqual(0, done.returncode, done.stderr)
        return done.stdout

    def check(self, page, views, pools, lanes):
        dom = self.rendered(page)
        root = re.search("<html[^>]*>", dom).group(0)
        self.assertNotIn("data-problem", root)
        self.assertIn('data-ready="yes"', root)
        one = f"{pools}/{lanes}/true/0 visible"
        self.assertIn(f'data-views="{" ".join([one] * views)}"', root)
        return html.unescape(dom)

    def test_of_a_ring_has_all_views_lanes_and_tables(self):
        dom = self.check(self.page("--model", "llama-8b", "--gpu", "15GB", "--strategy", "ring"), 5, 2, 5)
        for text in ("What is alive at the peaks", "Shards arriving", "What would help", "sequential-offload",
                     "Machine and assumptions", "whole run", "last "):
            self.assertIn(text, dom)

    def test_of_a_torch_run_that_fails_says_so(self):
        dom = self.check(self.page("--model", "llama-8b", "--gpu", "15GB", "--strategy", "torch-resident"), 1, 2, 5)
        self.assertIn("Out of memory", dom)


if __name__ == "__main__":
    bazel_unittest.main()
