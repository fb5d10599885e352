"""Puts the cases of other gates to our engine: `python -I -m tests.vectors.run FILE`, or `--jsonlogic FILE`.

The last line is one JSON object: how many cases there are, how many pass, and by name which fail and which ask for what
our gate does not do, or does differently on purpose.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tests.vectors import jsonlogic_triples
from tests.vectors.peer_world import UnsupportedError, run_case


def run(path: Path) -> dict[str, Any]:
    """Return how our engine fares on the scenarios in `path`, each failure and each unsupported case by its name."""
    document = json.loads(path.read_text("utf-8"))
    failed: dict[str, list[str]] = {}
    unsupported: dict[str, str] = {}
    for case in document["cases"]:
        try:
            if differences := run_case(case, document["fixtures"]):
                failed[case["name"]] = differences
        except UnsupportedError as error:
            unsupported[case["name"]] = str(error)
    cases = len(document["cases"])
    passed = cases - len(failed) - len(unsupported)
    return {"cases": cases, "passed": passed, "failed": failed, "unsupported": unsupported}


def main() -> int:
    """Run one file and print one JSON object; 0 when nothing failed."""
    parser = argparse.ArgumentParser(prog="tests.vectors.run", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--jsonlogic", action="store_true", help="the file holds JsonLogic triples")
    options = parser.parse_args()
    report = jsonlogic_triples.run(options.file) if options.jsonlogic else run(options.file)
    sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
