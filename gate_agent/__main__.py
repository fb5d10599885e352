"""Command line of the box: `gate-agent run|check|key|enrol|doctor|explain|salvage SETTINGS`, and `reasons`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from admission.codes import parse
from admission.explain import explain
from admission.facts import Attempt
from admission.keys import public_key_text
from admission.policy import Policy
from config.loader import SettingsError
from config.policy_file import load_policy
from config.settings import Profile, Settings, code_book, load_settings
from gate_agent.app import known_facts, run
from gate_agent.brokers import broker_problems
from gate_agent.doctor.examination import examine
from gate_agent.doctor.findings import Level
from gate_agent.enrolling import EnrolError, enrol
from gate_agent.identity import box_key
from gate_agent.logs import set_up_logging
from gate_agent.reasons_page import reasons_page
from gate_agent.secret_files import read_hash_key, secret_problems
from offline_cache.opening import StoreError
from offline_cache.salvage import salvage
from sync.enrolment import TokenError, read_token

EXIT_FAILED = 1
EXIT_WRONG_SETTINGS = 2
EXIT_STORE = 3
_TEXTS = {"explain": " and a code", "enrol": " and a token"}


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return the exit status."""
    parser = argparse.ArgumentParser(prog="gate-agent", description="Scenic Gate: the box at the gate")
    parser.add_argument(
        "command",
        choices=("run", "check", "key", "enrol", "doctor", "explain", "salvage", "reasons"),
        help="run; check the settings; print the box's key; get the box's certificate and everything else from the"
        " centre; look at everything the box stands on; say why a code is answered as it is; save what can be read of"
        " a damaged memory; print the page of reasons",
    )
    parser.add_argument(
        "settings", type=Path, nargs="?", help="the settings file (TOML); `reasons` needs none"
    )
    parser.add_argument(
        "text",
        nargs="?",
        help="explain: the code; enrol: the centre's token, or - to read it from standard input",
    )
    parser.add_argument(
        "--at", type=datetime.fromisoformat, help="explain: the moment, ISO 8601 (default: now)"
    )
    parser.add_argument("--lane", help="explain: the lane (default: the first)")
    parser.add_argument("--json", action="store_true", help="doctor: one JSON object a line")
    options = parser.parse_intermixed_args(arguments)  # options may stand before SETTINGS, and before CODE
    if options.command == "reasons":
        print(reasons_page(), end="")
        return 0
    if options.settings is None or (options.command in _TEXTS and options.text is None):
        parser.error(f"{options.command} needs a settings file{_TEXTS.get(options.command, '')}")
    try:
        is_new = options.command == "enrol"  # what the settings name is still to come
        settings = load_settings(options.settings) if is_new else _load(options.settings)
    except SettingsError as error:
        for problem in error.problems:
            print(f"{options.settings}: {problem}", file=sys.stderr)
        return EXIT_WRONG_SETTINGS
    folder = options.settings.resolve().parent
    if options.command == "check":
        print(f"{options.settings}: in order")
        return 0
    return _do(options, settings, folder)


def _do(options: argparse.Namespace, settings: Settings, folder: Path) -> int:
    """Run a command that works with the settings."""
    match options.command:
        case "key":
            return _print_key(settings, folder)
        case "enrol":
            return _enrol(settings, folder, options.text)
        case "explain":
            return asyncio.run(_explain(settings, folder, options.text, options.at, options.lane))
        case "doctor":
            return asyncio.run(_examine(settings, folder, as_json=options.json))
        case "salvage":
            return _salvage(settings, folder)
    return _run(settings, folder)


def _load(path: Path) -> Settings:
    """Return the settings, checked together with the files that they name."""
    settings = load_settings(path)
    folder = path.resolve().parent
    problems = [*_policy_problems(settings, folder), *secret_problems(settings, folder)]
    problems = problems or broker_problems(settings, folder)
    if problems:
        raise SettingsError(tuple(problems))
    return settings


def _policy_problems(settings: Settings, folder: Path) -> list[str]:
    try:
        policy = load_policy(folder / settings.policy_file)
    except SettingsError as error:
        return [f"policy_file: {problem}" for problem in error.problems]
    if settings.site_id not in policy.sites:
        return [f"site_id: {settings.site_id!r} is not in the policy {policy.version}"]
    return []


def _print_key(settings: Settings, folder: Path) -> int:
    try:
        key = box_key(folder / settings.state_dir, demo=settings.profile is Profile.DEMO)
    except (OSError, ValueError) as error:
        print(f"the box's key: {error}", file=sys.stderr)
        return EXIT_FAILED
    print(public_key_text(key.public))
    return 0


def _enrol(settings: Settings, folder: Path, text: str) -> int:
    """Make the box's keys, get the rest from the centre, and print what was written."""
    try:
        token = read_token(sys.stdin.readline() if text == "-" else text)
        written = asyncio.run(enrol(settings, folder, token))
    except (EnrolError, TokenError, OSError, ValueError) as error:
        print(f"not enrolled: {error}", file=sys.stderr)
        return EXIT_FAILED
    print("\n".join(written))
    return 0


async def _explain(
    settings: Settings, folder: Path, code: str, at: datetime | None, lane_id: str | None
) -> int:
    """Print each fact and rule that leads to the answer on a code; nothing is recorded, and the agent may run."""
    lane = next((lane for lane in settings.lanes if lane_id in (None, lane.id)), None)
    if lane is None:
        print(
            f"--lane: no lane {lane_id!r}; known: {', '.join(lane.id for lane in settings.lanes)}",
            file=sys.stderr,
        )
        return EXIT_WRONG_SETTINGS
    credential = parse(code.encode(), code_book(settings, read_hash_key(folder / settings.hash_key_file)))
    moment = at or datetime.now(UTC)

    def at_ms(policy: Policy) -> int:
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=policy.timezone)
        return round(zoned.timestamp() * 1000)

    def attempt(policy: Policy) -> Attempt:
        return Attempt(
            credential,
            lane.id,
            at_ms(policy),
            policy.day_start_ms(at_ms(policy)),
            policy.version,
            lane.traits,
            asks_clearance=bool(policy.clearances),
        )

    try:
        facts, policy = await known_facts(settings, folder, attempt)
    except StoreError as error:
        print(f"the box's memory cannot be read: {error}", file=sys.stderr)
        return EXIT_STORE
    for line in explain(credential, facts, policy, at_ms(policy)):
        print(line)
    return 0


async def _examine(settings: Settings, folder: Path, *, as_json: bool) -> int:
    """Print each finding as it comes; the status is EXIT_FAILED when anything does not work."""
    is_well = True
    async for finding in examine(settings, folder):
        print(json.dumps(finding.as_json(), ensure_ascii=False) if as_json else finding.as_text(), flush=True)
        is_well = is_well and finding.level is not Level.FAIL
    return 0 if is_well else EXIT_FAILED


def _salvage(settings: Settings, folder: Path) -> int:
    """Save what can be read of a damaged memory, and print what that is; the agent must not run."""
    try:
        found = salvage(folder / settings.state_dir)
    except StoreError as error:
        print(f"the box's memory was not salvaged: {error}", file=sys.stderr)
        return EXIT_STORE
    for table, rows in found.rows.items():
        print(f"saved       {table}: {rows} rows")
    print(
        f"ledger      {found.ledger_first} to {found.ledger_last}; {found.behind_gap} entries lie behind a gap"
    )
    for damage in found.damage:
        print(f"damaged     {damage}")
    if found.needs_new_id:
        print(
            "centre      what it holds of this box and what was saved do not meet: give this box a new box_id"
        )
    print(f"kept        {found.damaged}: keep it until the centre's reports are checked")
    return 0


def _run(settings: Settings, folder: Path) -> int:
    set_up_logging()
    log = logging.getLogger("gate_agent")
    try:
        asyncio.run(run(settings, folder))
    except StoreError as error:
        log.critical("the box's memory cannot be used: %s", error)
        return EXIT_STORE
    except Exception:
        log.critical("the agent ends; it starts again from what is committed", exc_info=True)
        return EXIT_FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
