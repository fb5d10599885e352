"""The settings of a box: what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from admission.codes import ExternalCode, KeyUse, TicketCode, issue_ticket_code, parse
from admission.keys import public_key_text
from config.loader import SettingsError
from config.settings import Driver, Profile, Settings, code_book, list_keys, load_settings
from tests.admission.makers import HASH_KEY, VALIDITY, signing_key

ISSUER, LIST_KEY = signing_key(1, demo=False), signing_key(2, demo=False)
DEMO_KEY = public_key_text(signing_key(3).public)

LANE = f"""
profile = "lane"
box_id = "box-1"
site_id = "fairy"
state_dir = "state"
policy_file = "policy.toml"
hash_key_file = "hash.key"
list_keys = ["{public_key_text(LIST_KEY.public)}"]

[centre]
url = "https://centre.example:8443"
broker_host = "centre.example"
broker_port = 8883

[[issuer_keys]]
key = "{public_key_text(ISSUER.public)}"
uses = ["ticket", "credit"]

[[external_issuers]]
issuer = "ota"
pattern = "OTA[0-9]+"

[[lanes]]
id = "lane-1"
[lanes.camera]
address = "/dev/video0"
[lanes.turnstile]
driver = "tcp"
port = 4001

[[lanes]]
id = "lane-2"
[lanes.turnstile]
driver = "tcp"
port = 4002
"""
DEMO = LANE.replace('"lane"', '"demo"', 1)


def settings(tmp_path: Path, text: str) -> Settings:
    """The settings in a file with that text."""
    path = tmp_path / "box.toml"
    path.write_text(text, "utf-8")
    return load_settings(path)


def problems(tmp_path: Path, text: str) -> tuple[str, ...]:
    """What is wrong with it."""
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, text)
    return caught.value.problems


def changed(old: str, new: str, text: str = LANE) -> str:
    """The good settings with one thing changed."""
    assert old in text
    return text.replace(old, new, 1)


def test_a_lanes_settings_load(tmp_path: Path) -> None:
    """With defaults where nothing was said."""
    loaded = settings(tmp_path, LANE)
    assert (loaded.profile, loaded.box_id) == (Profile.LANE, "box-1")
    assert [lane.id for lane in loaded.lanes] == ["lane-1", "lane-2"]
    assert [lane.turnstile.driver for lane in loaded.lanes] == [Driver.TCP] * 2
    assert [lane.camera is None for lane in loaded.lanes] == [False, True]
    assert loaded.web.host == "127.0.0.1"


def test_the_settings_tell_credentials_apart(tmp_path: Path) -> None:
    """Issuer keys with their uses, other issuers' patterns, and the list keys by id."""
    loaded = settings(tmp_path, LANE)
    book = code_book(loaded, HASH_KEY)
    assert book.issuer_keys[ISSUER.key_id].uses == frozenset(KeyUse)
    code = issue_ticket_code(bytes(12), "DAY1", VALIDITY, ISSUER).encode()
    assert isinstance(parse(code, book), TicketCode)
    assert isinstance(parse(b"OTA12", book), ExternalCode)
    assert list_keys(loaded)[LIST_KEY.key_id].key == LIST_KEY.public.key


@pytest.mark.parametrize("where", ["issuer_keys[0].key", "list_keys[0]"])
def test_a_demo_key_is_refused_outside_the_demo(tmp_path: Path, where: str) -> None:
    """It proves nothing, whatever it would sign."""
    old = public_key_text((LIST_KEY if where.startswith("list") else ISSUER).public)
    (problem,) = problems(tmp_path, changed(old, DEMO_KEY))
    assert problem.startswith(f"{where}: a demo key")
    assert settings(tmp_path, changed(old, DEMO_KEY, DEMO)).profile is Profile.DEMO


def test_a_simulated_turnstile_is_refused_outside_the_demo(tmp_path: Path) -> None:
    """It would let nobody in, and say that it had."""
    text = changed('driver = "tcp"\nport = 4001', 'driver = "simulated"')
    assert problems(tmp_path, text) == ("lanes[0].turnstile.driver: simulated is for the demo profile only",)
    loaded = settings(tmp_path, text.replace('"lane"', '"demo"', 1))
    assert loaded.lanes[0].turnstile.driver is Driver.SIMULATED


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.5", "::", "box.example"])
def test_a_page_off_loopback_needs_a_token(tmp_path: Path, host: str) -> None:
    """Anybody in the network could open the gate."""
    text = f'{LANE}\n[web]\nhost = "{host}"\n'
    assert problems(tmp_path, text) == ("web.token_file: needed when web.host is not loopback",)
    assert settings(tmp_path, f'{text}token_file = "token"').web.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_page_on_loopback_needs_none(tmp_path: Path, host: str) -> None:
    """Only who is on the machine reaches it."""
    assert settings(tmp_path, f'{LANE}\n[web]\nhost = "{host}"\n').web.token_file == ""


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"lane"', '"lanes"', "profile: 'lanes': invalid enum value 'lanes'"),
        ('"box-1"', '"box/1"', "box_id: 'box/1': expected `str` matching regex '^[A-Za-z0-9_-]{1,32}$'"),
        ('"box-1"', '"#"', "box_id: '#': expected `str` matching regex '^[A-Za-z0-9_-]{1,32}$'"),
        ("8883", "0", "centre.broker_port: expected `int` >= 1"),
        (
            '"https://centre.example:8443"',
            '"centre.example"',
            "centre.url: 'centre.example' is not http(s)://host:port",
        ),
        ("port = 4001", "port = 0", "lanes[0].turnstile.port: missing for the tcp driver"),
        ("port = 4001", "prot = 4001", "lanes[0].turnstile.prot: unknown setting"),
        (
            "port = 4001",
            "port = 4001\nrelease_timeout_ms = 5",
            "lanes[0].turnstile.release_timeout_ms: expected `int` >= 1000",
        ),
        ('"lane-2"', '"lane-1"', "lanes: id 'lane-1' stands there twice"),
        ('"/dev/video0"', '"/dev/video0"\nfps = 0', "lanes[0].camera.fps: expected `int` >= 1"),
        ('"OTA[0-9]+"', '"OTA[0-9"', "external_issuers[0].pattern: unterminated character set"),
        ('["ticket", "credit"]', '["tickets"]', "issuer_keys[0].uses: invalid enum value 'tickets'"),
        (public_key_text(ISSUER.public), "01:02", "issuer_keys[0].key: a key is written as ID:KEY"),
        (public_key_text(LIST_KEY.public), "", "list_keys[0]: a key is written as ID:KEY"),
    ],
)
def test_a_mistake_is_refused_by_its_place(tmp_path: Path, old: str, new: str, problem: str) -> None:
    """Before anything starts."""
    (found,) = problems(tmp_path, changed(old, new))
    assert found.startswith(problem)


def test_an_issuer_key_stands_there_once(tmp_path: Path) -> None:
    """Of two under one id the later would silently win."""
    table = LANE[LANE.index("[[issuer_keys]]") : LANE.index("[[external_issuers]]")]
    assert problems(tmp_path, LANE.replace(table, table + table)) == (
        f"issuer_keys: id {ISSUER.key_id.hex()} stands there twice",
    )


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    """Keys, lanes, addresses, patterns and the page."""
    text = changed(public_key_text(ISSUER.public), DEMO_KEY)
    text = changed(public_key_text(LIST_KEY.public), "x", text)
    text = changed('"lane-2"', '"lane-1"', text)
    text = changed("port = 4002", "", text)
    text = changed('"https://centre.example:8443"', '"x"', text)
    text = changed("OTA[0-9]+", "(", text)
    found = problems(tmp_path, text + '\n[web]\nhost = "10.0.0.1"')
    places = [
        "issuer_keys[0]",
        "list_keys[0]",
        "lanes: id",
        "lanes[1].turnstile",
        "centre.url",
        "web.token",
        "external",
    ]
    assert [next(place for place in places if problem.startswith(place)) for problem in found] == places


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing, or not text."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing", tmp_path / "binary"):
        with pytest.raises(SettingsError, match=f"{path.name}: cannot be read"):
            load_settings(path)
