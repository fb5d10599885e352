"""The documents against the code: what they name exists, and what they show works."""

from __future__ import annotations

import re
import sqlite3
import tomllib
from collections.abc import Iterator
from enum import Enum
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
import pytest

import central.settings
import config.policy_file
import config.settings
from admission import base45
from admission.codes import (
    PREFIX,
    CodeBook,
    IssuerKey,
    KeyUse,
    Rejected,
    TicketCode,
    Validity,
    parse,
    ticket_key,
)
from admission.envelope import Context, unseal
from admission.events import NO_HASH, chain, decode_entry
from admission.keys import read_public_key
from admission.reasons import Reason, Verdict
from admission.tickets import Basis, Outcome, Risk
from central.judging import ConflictKind
from central.lists import _SCHEMA
from central.pace import ListPace
from config.loader import load
from gate_agent.__main__ import EXIT_FAILED, EXIT_STORE, EXIT_WRONG_SETTINGS
from gate_agent.reasons_page import reasons_page
from sync.mqtt import Broker
from sync.protocol import Batch, BoxTopics, Health, ListManifest, Presence, Receipt, Stream

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"(?:\.ci|[a-z_]+)/[\w./-]*[\w/]")
SETTINGS = (
    config.settings.Settings,
    config.settings.CentreTable,
    config.settings.KeyTable,
    config.settings.ExternalTable,
    config.settings.LaneTable,
    config.settings.CameraTable,
    config.settings.TurnstileTable,
    config.settings.WebTable,
    config.policy_file.PolicyDocument,
    config.policy_file.SiteTable,
    config.policy_file.FreeVisitTable,
    config.policy_file.CreditTable,
    config.policy_file.OfflineTable,
    central.settings.Settings,
    central.settings.HttpTable,
    Broker,
    ListPace,
)


def text_of(page: str) -> str:
    """The text of a page, by its path in the tree."""
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks_of(page: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [body for name, body in FENCE.findall(text_of(page)) if name == language]


def code_of(page: Path) -> Iterator[str]:
    """Everything that a page sets as code: fenced blocks and spans."""
    yield from (body for _, body in FENCE.findall(page.read_text(encoding="utf-8")))
    yield from INLINE.findall(prose_of(page))


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def make_targets() -> set[str]:
    """The targets that the Makefile's help lists, and one for each benchmark."""
    benches = {f"bench-{path.stem}" for path in (ROOT / "bench").glob("[a-z]*.py")}
    return benches | set(re.findall(r"^## ([a-zA-Z-]+)", text_of("Makefile"), re.MULTILINE))


def columns_of(schema: str) -> dict[str, list[Any]]:
    """The columns of every table that the SQL makes."""
    with sqlite3.connect(":memory:") as sql:
        sql.executescript(schema)
        tables = [name for (name,) in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: sql.execute(f"PRAGMA table_xinfo({name})").fetchall() for name in sorted(tables)}
    sql.close()
    return columns


@pytest.fixture
def example() -> dict[str, Any]:
    """The worked example of a code."""
    return tomllib.loads(blocks_of("docs/PROTOCOL.md", "toml")[0])


@pytest.fixture
def book(example: dict[str, Any]) -> CodeBook:
    """A box that trusts the example's key."""
    key = read_public_key(example["issuer_key"])
    return CodeBook({key.key_id: IssuerKey(key.key_id, key.key, frozenset({KeyUse.TICKET}))}, (), bytes(32))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    """Every relative link and picture leads to a file, and every anchor to a heading."""
    for target in LINK.findall(prose_of(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        goal = (page.parent / name).resolve() if name else page
        assert goal.exists(), target
        assert not anchor or anchor in anchors_of(goal), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_exist(page: Path) -> None:
    """Whatever is set as code and looks like a path below one of our folders is there."""
    folders = {folder.name for folder in ROOT.iterdir() if folder.is_dir()} - {"var"}
    named = {span.rstrip("/") for span in INLINE.findall(prose_of(page)) if PATH.fullmatch(span)}
    ours = {name for name in named if name.partition("/")[0] in folders}
    assert {name for name in ours if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_make_targets_exist(page: Path) -> None:
    """No page tells anyone to make what cannot be made."""
    named = {name for code in code_of(page) for name in re.findall(r"\bmake ([a-z][\w-]*)", code)}
    assert named <= make_targets()


def test_both_readmes_show_the_same_commands() -> None:
    """Nobody gets less for reading one language; only the drawing's words differ."""
    english, chinese = (
        [block for kind in ("console", "json") for block in blocks_of(page, kind)]
        for page in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese
    assert len(re.findall("^## ", text_of("README.md"), re.MULTILINE)) == len(
        re.findall("^## ", text_of("README.zh-CN.md"), re.MULTILINE)
    )


def test_changelog_has_an_unreleased_part() -> None:
    """Where the next change is written down."""
    assert "\n## [Unreleased]\n" in text_of("CHANGELOG.md")


def test_every_decision_is_in_the_index() -> None:
    """By its number, which is given once."""
    names = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert sorted(LINK.findall(text_of("docs/decisions/README.md"))) == names
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_the_page_of_reasons_is_what_the_code_says() -> None:
    """The very words that visitors and staff are shown; `gate-agent reasons` prints the page."""
    assert text_of("docs/REASONS.md") == reasons_page()


@pytest.mark.parametrize("kind", [Verdict, Basis, Risk, Outcome, ConflictKind])
def test_glossary_has_every_member(kind: type[Enum]) -> None:
    """Each with a row of its own."""
    names = {member.value if isinstance(member.value, str) else member.name for member in kind}
    assert names <= set(re.findall(r"^\| `(\w+)` \|", text_of("docs/GLOSSARY.md"), re.MULTILINE))


def test_operating_explains_every_setting() -> None:
    """Of box, policy and centre."""
    explained = set(INLINE.findall(text_of("docs/OPERATING.md"))) | {
        name.strip("[]") for name in re.findall(r"\[+[a-z_]+\]+", text_of("docs/OPERATING.md"))
    }
    names = {field.encode_name for kind in SETTINGS for field in msgspec.structs.fields(kind)}
    assert names - explained == set()


def test_operating_explains_every_exit_status() -> None:
    """Whoever supervises the agent must know what to do."""
    explained = re.findall(r"^\| (\d) \|", text_of("docs/OPERATING.md"), re.MULTILINE)
    assert explained == [str(code) for code in (0, EXIT_FAILED, EXIT_WRONG_SETTINGS, EXIT_STORE)]


def test_example_settings_are_in_order(tmp_path: Path) -> None:
    """Both files can be copied as they stand."""
    box, centre = blocks_of("docs/OPERATING.md", "toml")
    (tmp_path / "box.toml").write_text(box, encoding="utf-8")
    assert config.settings.load_settings(tmp_path / "box.toml").profile is config.settings.Profile.LANE
    assert load(centre, central.settings.Settings).profile is central.settings.Profile.SITE


def test_example_code_verifies(example: dict[str, Any], book: CodeBook) -> None:
    """It is the ticket that the page says."""
    credential = parse(example["code"].encode(), book)
    validity = Validity(example["valid_from_s"], example["valid_until_s"], example["issued_s"])
    assert credential == TicketCode(bytes.fromhex(example["ticket_key"]), example["product"], validity)
    assert ticket_key(bytes.fromhex(example["ticket_id"])).hex() == example["ticket_key"]


def test_example_code_is_made_of_its_parts(example: dict[str, Any], book: CodeBook) -> None:
    """Text, envelope and claims belong together, and have the sizes that the page names."""
    raw = base45.decode(example["code"].encode().removeprefix(PREFIX))
    assert raw.hex() == example["envelope"]
    assert unseal(raw, book.public_key, Context.CODE).payload.hex() == example["claims"]
    assert (len(raw), len(example["code"])) == (120, 184)


def test_example_code_does_not_verify_when_altered(example: dict[str, Any], book: CodeBook) -> None:
    """The example shows a signature, not a decoration."""
    raw = bytearray.fromhex(example["envelope"])
    raw[40] ^= 1
    found = parse(PREFIX + base45.encode(bytes(raw)), book)
    assert isinstance(found, Rejected)
    assert found.reason is Reason.BAD_SIGNATURE


def test_example_chain_holds() -> None:
    """The entries can be read, and their hashes follow from each other."""
    shown = tomllib.loads(blocks_of("docs/PROTOCOL.md", "toml")[1])
    entries = [bytes.fromhex(entry) for entry in shown["entries"]]
    assert [decode_entry(entry).seq_no for entry in entries] == [1, 2]
    hashes = [value.hex() for value in accumulate(entries, chain, initial=NO_HASH)]
    assert hashes[1:] == shown["hashes"]


def test_protocol_has_every_topic() -> None:
    """As the code makes them, with SITE and BOX for the names."""
    topics = BoxTopics("SITE", "BOX")
    made = {*(topics.up(stream) for stream in Stream), topics.presence, topics.receipt, topics.manifest}
    assert {span for span in INLINE.findall(text_of("docs/PROTOCOL.md")) if span in made} == made


@pytest.mark.parametrize("message", [Batch, Receipt, Presence, Health, ListManifest])
def test_protocol_has_every_field(message: type[msgspec.Struct]) -> None:
    """Of every message."""
    names = {field.encode_name for field in msgspec.structs.fields(message)}
    assert names <= set(INLINE.findall(text_of("docs/PROTOCOL.md")))


def test_protocol_has_the_schema_of_lists() -> None:
    """Tables, columns, types and keys as the centre writes them."""
    assert columns_of(blocks_of("docs/PROTOCOL.md", "sql")[0]) == columns_of(_SCHEMA)
