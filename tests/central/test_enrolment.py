"""How boxes come and go at the centre: invitations, certificates, access rules, and the bar."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import select

from admission.keys import public_key_text
from central.access import REVOKED_FILE, RULES_FILE, AccessFiles, rules
from central.authority import NotARequestError, new_authority, read_authority, read_request
from central.enrolment import admitted_boxes
from central.ingest import ingest
from central.schema import boxes
from central.settings import HttpTable
from central.store import Store
from central.web.server import make_app
from sync.enrolment import FINGERPRINT_BYTES, Token, TokenError, read_token
from sync.protocol import Stream
from tests.central.conftest import Client, World
from tests.central.world import KEYS, NOW_MS, Box, signing_key

NOW = datetime.fromtimestamp(NOW_MS // 1000, UTC)
BOX_KEY = public_key_text(signing_key("box").public)


def csr(key: Any = None, name: str = "anybody") -> str:
    """A certificate request as a box makes it."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signed = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return (
        signed.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )


async def invite(client: Client | ClientSession, box_id: str = "B1", **changes: Any) -> str:
    """The secret of a new invitation."""
    response = await client.post(f"/v1/boxes/{box_id}/invitation", json={"site_id": "fairy"} | changes)
    assert response.status == 201, await response.text()
    return read_token((await response.json())["token"]).secret


async def enrol(client: Client, token_secret: str, **changes: Any) -> tuple[int, dict[str, Any]]:
    """Enrol B1 and return status and answer."""
    said = {
        "secret": token_secret,
        "box_id": "B1",
        "site_id": "fairy",
        "public_key": BOX_KEY,
        "certificate_request": csr(),
    }
    response = await client.post("/enrol", json=said | changes)
    return response.status, await response.json()


def name_of(certificate: x509.Certificate) -> str:
    """Its common name."""
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


async def test_an_invited_box_gets_all_that_it_needs(client: Client, world: World) -> None:
    """A certificate in its own name, whatever it called itself, the site's secrets, the keys to trust, the policy."""
    status, answer = await enrol(client, await invite(client))
    assert status == 200
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    certificate.verify_directly_issued_by(KEYS.authority.certificate)
    assert name_of(certificate) == "fairy/B1"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert x509.load_pem_x509_certificate(answer["authority"].encode()) == KEYS.authority.certificate
    assert answer["hash_key"] == KEYS.hash_key.hex()
    assert (answer["issuer_key"], answer["list_key"]) == (
        KEYS.public_texts()["issuer"],
        KEYS.public_texts()["list"],
    )
    assert answer["policy"] == world.centre.policy.document
    rows = await world.centre.store.read(lambda connection: connection.execute(select(boxes)).all())
    assert [(row.box_id, row.site_id, row.public_key) for row in rows] == [("B1", "fairy", BOX_KEY)]


async def test_an_answer_that_was_lost_is_given_again(client: Client) -> None:
    """The same box with the same keys gets the same certificate, though it signs its request anew."""
    secret, key = await invite(client), ec.generate_private_key(ec.SECP256R1())
    first = await enrol(client, secret, certificate_request=csr(key))
    assert await enrol(client, secret, certificate_request=csr(key)) == first


async def test_an_invitation_is_good_for_one_box(client: Client) -> None:
    """Whoever comes second with it is refused, as is another name, another site, and a wrong secret."""
    secret = await invite(client)
    for changes in ({"box_id": "B2"}, {"site_id": "bridges"}, {"secret": "x" * 24}):
        status, answer = await enrol(client, secret, **changes)
        assert (status, answer["error"]["code"]) == (403, "not_invited")
    assert (await enrol(client, secret))[0] == 200
    status, answer = await enrol(client, secret)
    assert (status, answer["error"]["message"]) == (
        403,
        "the invitation was used before; have another one made",
    )


async def test_an_invitation_runs_out(client: Client, world: World) -> None:
    """At the end of its time to the second."""
    secret = await invite(client, valid_min=1)
    for later_ms, status in ((60_000, 403), (59_999, 200)):
        at = world.centre.clock() + later_ms
        centre = replace(world.centre, clock=partial(int, at))
        async with TestClient(TestServer(make_app(centre, HttpTable()))) as later:
            assert (await enrol(later, secret))[0] == status


async def test_a_newer_invitation_voids_the_one_before(client: Client) -> None:
    """A token that was sent to the wrong person is dealt with by making another."""
    first, second = await invite(client), await invite(client)
    assert (await enrol(client, first))[0] == 403
    assert (await enrol(client, second))[0] == 200


async def test_another_machine_cannot_go_on_with_a_record(client: Client, store: Store) -> None:
    """A box that has written a ledger keeps its key; its own machine may renew its certificate."""
    assert (await enrol(client, await invite(client)))[0] == 200
    box = Box("B1")
    box.open_epoch()
    topic = box.topics.up(Stream.LEDGER)
    assert await store.run(lambda connection: ingest(connection, topic, box.batch(), NOW_MS))
    status, answer = await enrol(
        client, await invite(client), public_key=public_key_text(signing_key("spare").public)
    )
    assert (status, answer["error"]["code"], answer["error"]["field"]) == (409, "record_stands", "box_id")
    assert (await enrol(client, await invite(client)))[0] == 200


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"certificate_request": "nothing"}, "certificate_request"),
        ({"certificate_request": csr(ec.generate_private_key(ec.SECP384R1()))}, "certificate_request"),
        ({"public_key": "nothing"}, "public_key"),
        ({"public_key": public_key_text(signing_key("box", demo=True).public)}, "public_key"),
        ({"box_id": ""}, "box_id"),
    ],
)
async def test_a_malformed_enrolment_names_the_field(
    client: Client, changes: dict[str, str], field: str
) -> None:
    """And the invitation is still good."""
    secret = await invite(client)
    status, answer = await enrol(client, secret, **changes)
    assert (status, answer["error"]["field"]) == (422, field)
    assert (await enrol(client, secret))[0] == 200


@pytest.mark.parametrize(
    ("box_id", "body", "field"),
    [
        ("B%201", {"site_id": "fairy"}, "box_id"),
        ("B1", {"site_id": "nowhere"}, "site_id"),
        ("B1", {"site_id": "fairy", "valid_min": 0}, "valid_min"),
    ],
)
async def test_a_malformed_invitation_names_the_field(
    client: Client, box_id: str, body: dict[str, Any], field: str
) -> None:
    """Names are those that topics can hold."""
    response = await client.post(f"/v1/boxes/{box_id}/invitation", json=body)
    assert (response.status, (await response.json())["error"]["field"]) == (422, field)


async def test_who_is_not_known_yet_sends_no_more_than_an_enrolment_takes(client: Client) -> None:
    """Whoever reaches the centre can ask this much, and no more is read."""
    status, answer = await enrol(client, "nobody's", certificate_request="x" * (16 << 10))
    assert (status, answer["error"]["code"]) == (413, "request_entity_too_large")


async def test_only_the_back_office_invites_and_bars(world: World) -> None:
    """Enrolling asks for an invitation instead of the token; the authority is for everyone."""
    http = HttpTable(token="t" * 16)
    async with TestClient(TestServer(make_app(world.centre, http))) as client:
        assert (await client.post("/v1/boxes/B1/invitation", json={"site_id": "fairy"})).status == 401
        assert (await client.post("/v1/boxes/B1/bar", json={})).status == 401
        assert (await enrol(client, "x"))[0] == 403
        response = await client.get("/enrol/authority")
        assert (response.status, await response.text()) == (200, KEYS.authority.certificate_text())


async def access(world: World, folder: Path) -> AccessFiles:
    """The files of a centre that writes them whenever boxes change."""
    files = AccessFiles(world.centre.store, KEYS.authority, folder, world.centre.clock)
    await files.write()
    return files


def listed(folder: Path) -> set[int] | None:
    """The serial numbers that the folder's list revokes."""
    return KEYS.authority.listed((folder / REVOKED_FILE).read_bytes())


async def test_rules_and_revocations_follow_the_boxes(world: World, tmp_path: Path) -> None:
    """Enrolled: in the rules; enrolled again: the certificate before is revoked; barred: out, and all are revoked."""
    files = await access(world, tmp_path)
    centre = replace(world.centre, boxes_changed=files.write)
    assert listed(tmp_path) == set()
    async with TestClient(TestServer(make_app(centre, HttpTable()))) as client:
        serials = []
        for _ in range(2):
            _, answer = await enrol(client, await invite(client))
            serials.append(x509.load_pem_x509_certificate(answer["certificate"].encode()).serial_number)
        assert "user fairy/B1" in (tmp_path / RULES_FILE).read_text()
        assert listed(tmp_path) == {serials[0]}
        secret = await invite(client)
        response = await client.post("/v1/boxes/B1/bar", json={})
        assert (response.status, (await response.json())["barred_s"]) == (200, NOW_MS // 1000)
        assert "B1" not in (tmp_path / RULES_FILE).read_text()
        assert listed(tmp_path) == set(serials)
        assert (await enrol(client, secret))[0] == 403, "an invitation from before the bar is void"
        assert (await client.post("/v1/boxes/B1/bar", json={})).status == 200
        assert (await client.post("/v1/boxes/B2/bar", json={})).status == 404
        assert (await enrol(client, await invite(client)))[0] == 200
    assert "user fairy/B1" in (tmp_path / RULES_FILE).read_text(), "whoever is invited again is let in again"


def inodes(folder: Path) -> dict[str, int]:
    """Which files these are: a file that was replaced is another one."""
    return {path.name: path.stat().st_ino for path in folder.iterdir()}


async def test_files_that_are_right_are_left_alone(world: World, tmp_path: Path) -> None:
    """A broker is not told to read again what has not changed; a list of somebody else's is replaced."""
    files = await access(world, tmp_path)
    before = inodes(tmp_path)
    await files.write()
    assert inodes(tmp_path) == before
    (tmp_path / REVOKED_FILE).write_text(new_authority(NOW).revocation_list([1], NOW))
    await files.write()
    assert listed(tmp_path) == set()


async def test_imported_boxes_are_let_in_too(world: World, tmp_path: Path) -> None:
    """However a box became known."""
    files = await access(world, tmp_path)
    centre = replace(world.centre, boxes_changed=files.write)
    async with TestClient(TestServer(make_app(centre, HttpTable()))) as client:
        row = {"box_id": "B7", "site_id": "bridges", "public_key": BOX_KEY}
        assert (await client.post("/v1/imports/boxes", json=[row])).status == 200
    assert "user bridges/B7\n" in (tmp_path / RULES_FILE).read_text()
    assert await world.centre.store.read(admitted_boxes) == [("bridges", "B7")]


def test_rules_of_one_box() -> None:
    """It speaks for itself and hears its own, its site's, and itself."""
    own = rules([("fairy", "B1")]).partition("user fairy/B1\n")[2].splitlines()
    assert own == [
        "topic write sg1/fairy/B1/up/#",
        "topic read sg1/fairy/B1/up/presence",
        "topic read sg1/fairy/B1/down/#",
        "topic read sg1/fairy/down/#",
        "topic write sg1/fairy/B1/side/ledger",
        "topic write sg1/fairy/B1/side/head",
        "topic write sg1/fairy/B1/side/ask",
        "topic write sg1/fairy/B1/side/heard",
        "topic read sg1/fairy/+/side/+",
    ]


# The authority --------------------------------------------------------------------------------------------


def test_a_server_is_known_by_its_addresses() -> None:
    """Names and numbers, and for nothing but being a server."""
    certificate, _ = KEYS.authority.for_server(["broker.example", "192.168.1.5"], NOW)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.168.1.5"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert certificate.not_valid_before_utc < NOW < certificate.not_valid_after_utc - timedelta(days=800)


def test_an_authority_is_read_from_its_two_files() -> None:
    """And from no others."""
    made, other = new_authority(NOW), new_authority(NOW)
    assert read_authority(made.certificate_text(), made.key_text()).fingerprint == made.fingerprint
    for certificate, key in (
        (made.certificate_text(), other.key_text()),
        (made.certificate_text(), "nothing"),
        ("nothing", made.key_text()),
    ):
        with pytest.raises(ValueError, match=r".+"):
            read_authority(certificate, key)


def test_a_request_that_another_key_signed_is_none() -> None:
    """Nobody gets a certificate for a key that is not theirs."""
    request = x509.load_pem_x509_csr(csr().encode())
    der = bytearray(request.public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    for wrong in (forged, b"", csr(rsa.generate_private_key(65537, 2048)).encode()):
        with pytest.raises(NotARequestError):
            read_request(wrong)


@pytest.mark.parametrize("text", ["", "secret", "secret.", ".abc", "secret.abc", "secret.!!!", "a.b.c"])
def test_a_token_that_was_not_copied_whole(text: str) -> None:
    """Is told from one of another centre."""
    with pytest.raises(TokenError):
        read_token(text)


@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\xfb"])
def test_a_token_survives_being_carried(fill: bytes) -> None:
    """With the blanks that copying adds."""
    token = Token("secret-_", fill * FINGERPRINT_BYTES)
    assert read_token(f" {token.text}\n") == token
