"""Adds up pytest's JUnit files: a line for each run, and the total last."""

import sys
from pathlib import Path
from xml.etree import ElementTree

totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
for path in sys.argv[1:]:
    suite = ElementTree.parse(path).getroot().find("testsuite")
    counts = {key: int(suite.get(key)) for key in totals}
    print(f"{Path(path).stem}: {counts['tests']} tests, {counts['skipped']} skipped")
    totals = {key: totals[key] + counts[key] for key in totals}
failed = totals["failures"] + totals["errors"]
passed = totals["tests"] - failed - totals["skipped"]
print(f"{passed} passed, {failed} failed, {totals['skipped']} skipped")
sys.exit(1 if failed or not passed else 0)
