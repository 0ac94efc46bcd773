"""Turns the build event file of one `bazel test` into "N passed, N failed, N skipped", counted in test cases.

Reads the events and the test.xml files they name, never bazel-testlogs/, which keeps results of tests that no longer
exist. Lists what failed and what was skipped, with the reason, above the count.

    bazel test //... --build_event_json_file=EVENTS; python3 tools/dev/test_summary.py EVENTS
"""

import json
import re
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from urllib.parse import unquote, urlparse

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


def read_events(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            kind, key = next(iter(event["id"].items()))
            yield kind, key, event


def skip_reason(case):
    """What the test said when it called GTEST_SKIP(), without the place."""
    skipped = case.find("skipped")
    if skipped is None:
        return "disabled"
    text = skipped.get("message") or skipped.text or ""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not re.match(r".*\.(cc|h):\d+$", line.strip())]
    return lines[0] if lines else "no reason given"


def cases_of_xml(path):
    """(outcome, name, detail) of each test case. A test that is not gtest has one."""
    for case in ET.parse(path).iter("testcase"):
        name = ".".join(filter(None, [case.get("classname"), case.get("name")]))
        if case.find("failure") is not None or case.find("error") is not None:
            yield FAILED, name, ""
        elif case.find("skipped") is not None or case.get("status") == "notrun":
            yield SKIPPED, name, skip_reason(case)
        else:
            yield PASSED, name, ""


def cases_of_result(result):
    cases = []
    for output in result.get("testActionOutput", []):
        if output["name"] == "test.xml":
            try:
                cases += cases_of_xml(unquote(urlparse(output["uri"]).path))
            except (ET.ParseError, OSError) as error:
                cases.append((FAILED, "test.xml", str(error)))
    if result["status"] in ("PASSED", "FLAKY"):
        return cases or [(PASSED, "", "")]
    if any(outcome == FAILED for outcome, _, _ in cases):
        return cases
    return cases + [(FAILED, "", result["status"].lower())]  # crashed or timed out: the XML knows nothing of it


def collect(events):
    """Rows (outcome, label, name, detail) of everything that ran, was skipped or did not build."""
    results, tests, broken, absent, exit_name = {}, set(), set(), set(), "incomplete event file"
    for kind, key, event in events:
        label = key.get("label")
        if kind == "testResult":  # one per attempt: the last counts
            results[label, key.get("shard"), key.get("run")] = event["testResult"]
        elif kind == "targetConfigured":
            configured = event.get("configured", {})
            if configured.get("targetKind", "").endswith("_test rule") and "benchmark" not in configured.get("tag", []):
                tests.add(label)
        elif kind == "targetCompleted" and not event.get("completed", {}).get("success"):
            (absent if event.get("aborted", {}).get("reason") == "SKIPPED" else broken).add(label)
        elif kind == "buildFinished":
            exit_name = event["finished"]["exitCode"]["name"]
    ran = {key[0] for key in results}
    rows = [
        (outcome, key[0], name, detail)
        for key, result in sorted(results.items(), key=str)
        for outcome, name, detail in cases_of_result(result)
    ]
    rows += [(SKIPPED, label, "", "not for this configuration") for label in sorted(absent & tests - ran)]
    rows += [(FAILED, label, "", "did not build") for label in sorted(broken - ran)]
    if exit_name not in ("SUCCESS", "TESTS_FAILED") and not any(row[0] == FAILED for row in rows):
        rows.append((FAILED, "bazel", "", exit_name))
    return rows


def main(path):
    rows = collect(read_events(path))
    for outcome, label, name, detail in rows:
        if outcome != PASSED:
            print(f"{outcome}: {' '.join(filter(None, [label, name]))}{': ' + detail if detail else ''}")
    count = Counter(row[0] for row in rows)
    print(f"{count[PASSED]} passed, {count[FAILED]} failed, {count[SKIPPED]} skipped")
    return 0 if count[PASSED] and not count[FAILED] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
