"""`gate-agent enrol` against the real centre's application, over HTTP on this machine and over HTTPS."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509

from admission.keys import public_key_text
from central.authority import new_authority, utc_now, write_pair
from central.settings import HttpTable
from central.web.server import make_app
from config.settings import CentreTable, Settings, load_settings
from gate_agent.__main__ import main
from gate_agent.brokers import broker_problems
from gate_agent.enrolling import EnrolError, enrol
from gate_agent.secret_files import secret_problems
from sync.enrolment import Token
from tests.central.conftest import World
from tests.central.test_enrolment import invite
from tests.central.world import KEYS, signing_key

POLICY_TEXT = (Path(__file__).parents[2] / "config" / "policies" / "default.toml").read_text("utf-8")
SETTINGS = """
profile = "lane"
box_id = "B1"
site_id = "fairy"
state_dir = "state"
policy_file = "state/policy.toml"
hash_key_file = "state/hash.key"
list_keys = ["{list}"]
[centre]
url = "{url}"
broker_host = "broker"
broker_port = 8883
list_token_file = "state/list.token"
tls_ca_file = "state/authority.crt"
tls_cert_file = "state/box.crt"
tls_key_file = "state/tls.key"
[[issuer_keys]]
key = "{issuer}"
uses = ["ticket", "credit"]
[[lanes]]
id = "1"
[lanes.turnstile]
driver = "attendant"
"""


@dataclass(frozen=True, slots=True)
class Meeting:
    """A centre that serves, and a box with nothing but its settings."""

    server: TestServer
    folder: Path

    @property
    def settings_file(self) -> Path:
        """All that the box has."""
        return self.folder / "box.toml"

    @property
    def settings(self) -> Settings:
        """The same, read."""
        return load_settings(self.settings_file)

    async def token(self) -> Token:
        """A new invitation."""
        connector = aiohttp.TCPConnector(ssl=False)  # the back office is not what is tested here
        async with aiohttp.ClientSession(self.server.make_url("/"), connector=connector) as client:
            return Token(await invite(client), KEYS.authority.fingerprint)

    async def enrol(self, token: Token | None = None, **centre: Any) -> list[str]:
        """What the command does, with other settings of the centre's."""
        settings = self.settings
        table: CentreTable = msgspec.structs.replace(settings.centre, **centre)
        token = token or await self.token()
        return await enrol(msgspec.structs.replace(settings, centre=table), self.folder, token)


@pytest.fixture(params=["http", "https"])
async def meeting(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> AsyncIterator[Meeting]:
    """A centre with a list token, on this machine, and an empty box."""
    tls = None
    if request.param == "https":
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(
            *write_pair(*KEYS.authority.for_server(["127.0.0.1"], utc_now()), tmp_path / "web")
        )
    policy = replace(world.centre.policy, document=POLICY_TEXT)
    centre = replace(world.centre, list_token="l" * 16, policy=policy)
    server = TestServer(make_app(centre, HttpTable()))
    await server.start_server(ssl=tls)
    text = SETTINGS.format(url=str(server.make_url("/")).rstrip("/"), **KEYS.public_texts())
    (tmp_path / "box.toml").write_text(text)
    try:
        yield Meeting(server, tmp_path)
    finally:
        await server.close()


async def test_a_box_with_nothing_but_its_settings_has_everything_afterwards(meeting: Meeting) -> None:
    """Its settings' check finds every file, of its owner alone, and its certificate fits its key."""
    written = await meeting.enrol()
    settings, folder = meeting.settings, meeting.folder
    assert (secret_problems(settings, folder), broker_problems(settings, folder)) == ([], [])
    state = folder / "state"
    assert {path.name: path.stat().st_mode & 0o777 for path in state.iterdir()} == dict.fromkeys(
        (
            "authority.crt",
            "box.crt",
            "box.key",
            "hash.key",
            "list.token",
            "policy.toml",
            "tls.key",
        ),
        0o600,
    )
    assert (state / "policy.toml").read_text("utf-8") == POLICY_TEXT
    assert (state / "list.token").read_text() == "l" * 16
    certificate = x509.load_pem_x509_certificate((state / "box.crt").read_bytes())
    certificate.verify_directly_issued_by(KEYS.authority.certificate)
    assert written[0].startswith("key: ")


async def test_the_same_command_again_changes_nothing(meeting: Meeting) -> None:
    """The answer may have been lost on the way; keys are made once."""
    token = await meeting.token()
    first = await meeting.enrol(token)
    before = contents(meeting.folder / "state")
    assert (await meeting.enrol(token))[0] == first[0]
    assert contents(meeting.folder / "state") == before


def contents(folder: Path) -> dict[str, bytes]:
    """What all files hold."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_newer_token_renews_the_certificate(meeting: Meeting) -> None:
    """The keys stay, and so does a policy that is there already."""
    await meeting.enrol()
    state = meeting.folder / "state"
    (state / "policy.toml").write_text("newer")
    before = contents(state)
    await meeting.enrol()
    assert {name for name, data in contents(state).items() if data != before[name]} == {"box.crt"}


async def test_a_centre_of_another_authority_is_told_nothing(meeting: Meeting) -> None:
    """The secret does not leave the box, whoever answers at the address."""
    secret = (await meeting.token()).secret
    with pytest.raises(EnrolError, match="not the centre that made this token"):
        await meeting.enrol(Token(secret, new_authority(utc_now()).fingerprint))
    await meeting.enrol(Token(secret, KEYS.authority.fingerprint))


@pytest.mark.parametrize(
    ("centre", "words"),
    [
        ({"url": "http://192.0.2.1:80"}, "over https alone"),
        ({"url": "http://127.0.0.1:1"}, "cannot be asked"),
        ({"tls_cert_file": ""}, "centre.tls_cert_file: missing"),
    ],
)
async def test_what_cannot_be_is_said_before_the_token_is_used(
    meeting: Meeting, centre: dict[str, str], words: str
) -> None:
    """And the token is still good."""
    token = await meeting.token()
    with pytest.raises(EnrolError, match=words):
        await meeting.enrol(token, **centre)
    await meeting.enrol(token)


async def test_a_token_that_the_centre_does_not_know(meeting: Meeting) -> None:
    """Its word is passed on."""
    with pytest.raises(EnrolError, match="the centre refuses: no invitation for box B1 at site fairy"):
        await meeting.enrol(Token("x" * 32, KEYS.authority.fingerprint))


async def test_a_box_of_another_centre_is_not_turned_over(meeting: Meeting) -> None:
    """Settings that trust other keys, or another hash key in its place: nothing is written over."""
    state = meeting.folder / "state"
    text = meeting.settings_file.read_text()
    for name in ("list", "issuer"):
        other = public_key_text(signing_key("other").public)
        meeting.settings_file.write_text(text.replace(KEYS.public_texts()[name], other))
        with pytest.raises(EnrolError, match=f"{name}.*put it into the settings"):
            await meeting.enrol()
    meeting.settings_file.write_text(text)
    (state / "hash.key").write_text("00" * 32)
    with pytest.raises(EnrolError, match="the hash key of another centre"):
        await meeting.enrol()
    assert (state / "hash.key").read_text() == "00" * 32
    assert not (state / "box.crt").exists()


@pytest.mark.parametrize("text", ["nothing", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"])
async def test_a_key_file_that_holds_something_else_is_named(meeting: Meeting, text: str) -> None:
    """It is not replaced either."""
    path = meeting.folder / "state" / "tls.key"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(EnrolError, match=r"tls\.key: not a private key"):
        await meeting.enrol()
    assert path.read_text() == text


async def test_something_that_is_no_centre(meeting: Meeting) -> None:
    """Says so, and not a traceback."""

    async def odd(_: web.Request) -> web.Response:
        return web.Response(text="<html>")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", odd)
    server = TestServer(app)
    await server.start_server()
    try:
        with pytest.raises(EnrolError, match="is no centre"):
            await meeting.enrol(url=str(server.make_url("/")).rstrip("/"))
    finally:
        await server.close()


def test_the_command_says_why_it_did_not_enrol(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A token that was cut off, and one without a settings file."""
    path = tmp_path / "box.toml"
    path.write_text(SETTINGS.format(url="http://127.0.0.1:1", **KEYS.public_texts()))
    assert main(["enrol", str(path), "half-a-token"]) == 1
    assert "not enrolled: not a token as the centre makes it" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["enrol", str(path)])
    assert "enrol needs a settings file and a token" in capsys.readouterr().err
