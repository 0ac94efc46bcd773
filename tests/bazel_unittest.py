"""unittest.main() that also tells Bazel the outcome of each test case, so that they count (and skip) one by one."""

import os
import sys
import unittest
import xml.etree.ElementTree as ET


class _Recorder(unittest.TextTestResult):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.suite = ET.Element("testsuite", name=os.path.basename(sys.argv[0]))

    def startTest(self, test):
        super().startTest(test)
        kind, _, name = test.id().removeprefix("__main__.").partition(".")
        self.case = ET.SubElement(self.suite, "testcase", classname=kind, name=name, time="0")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        ET.SubElement(self.case, "skipped", message=reason)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        ET.SubElement(self.case, "failure", message=str(err[1]))

    def addError(self, test, err):
        super().addError(test, err)
        ET.SubElement(self.case, "error", message=str(err[1]))


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    result = unittest.TextTestRunner(resultclass=_Recorder, verbosity=2).run(suite)
    if "XML_OUTPUT_FILE" in os.environ:
        suites = ET.Element("testsuites")
        suites.append(result.suite)
        ET.ElementTree(suites).write(os.environ["XML_OUTPUT_FILE"], encoding="utf-8", xml_declaration=True)
    sys.exit(0 if result.wasSuccessful() and result.testsRun else 1)
