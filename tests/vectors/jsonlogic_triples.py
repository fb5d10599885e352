"""Rule, data and result as other implementations of JsonLogic publish them, put to ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from admission.jsonlogic import RuleError, evaluate


def run(path: Path) -> dict[str, Any]:
    """Return how our evaluation fares on the triples in `path`, each failure by its rule."""
    cases = json.loads(path.read_text("utf-8"))["cases"]
    failed = [json.dumps(case["rule"]) for case in cases if not _agrees(case)]
    return {"cases": len(cases), "passed": len(cases) - len(failed), "failed": failed, "unsupported": []}


def _agrees(case: dict[str, Any]) -> bool:
    try:
        value = evaluate(case["rule"], case["data"])
    except RuleError:
        return False
    return bool(value == case["expect"]) and isinstance(value, bool) == isinstance(case["expect"], bool)
