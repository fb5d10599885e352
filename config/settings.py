"""The settings of a box: one sentence and a unit for each, and the checks that span several of them."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from admission.codes import CodeBook, ExternalIssuer, IssuerKey, KeyUse
from admission.facts import ADMISSION, Direction, LaneClass, LaneTraits
from admission.keys import PublicKey, read_public_key
from config.loader import SettingsError, load

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
AnyPort = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(gt=0)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Profile(StrEnum):
    """What the box is; only the demo accepts demo keys and shows its camera without a token."""

    LANE = "lane"
    DEMO = "demo"


class Driver(StrEnum):
    """How the turnstile is reached."""

    TCP = "tcp"
    ATTENDANT = "attendant"
    SIMULATED = "simulated"


class StaffRole(StrEnum):
    """A role as settings name it."""

    STEWARD = "steward"
    SUPERVISOR = "supervisor"


class BrokerAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How a broker lets this box in: by its certificate, or by a name and a password."""

    username: str = ""
    """Empty where a certificate says who the box is."""
    password_file: str = ""
    """File that holds the broker's password; empty for none."""
    tls_ca_file: str = ""
    """File with the authority (PEM) that signed the broker's certificate; empty: what is said is not secured."""
    tls_cert_file: str = ""
    """File with this box's certificate (PEM); empty for none."""
    tls_key_file: str = ""
    """File with the certificate's private key (PEM)."""
    keepalive_s: Annotated[int, msgspec.Meta(ge=2, le=300)] = 15
    """A silent link is noticed after one to two of these, in seconds."""


class CentreTable(BrokerAccess, frozen=True, kw_only=True):
    """Where the central platform is. `gate-agent enrol` fills the files that are named here."""

    url: str
    """Base address from which lists are fetched, as http(s)://host:port."""
    broker_host: str
    broker_port: Port
    list_token_file: str = ""
    """File that holds the token with which lists are fetched; empty for none."""


class SiteBrokerTable(BrokerAccess, frozen=True, kw_only=True):
    """Where the boxes of the site speak to each other."""

    host: str
    port: Port


class NeighbourTable(msgspec.Struct, frozen=True, kw_only=True):
    """Another box of the site."""

    box_id: Name
    key: str
    """Its public key as ID:KEY in hex, as `gate-agent key` prints it there."""


class KeyTable(msgspec.Struct, frozen=True, kw_only=True):
    """A public key that issues codes."""

    key: str
    """ID:KEY in hex, as the centre prints it."""
    uses: frozenset[KeyUse]
    """What it may issue: ticket, credit."""


class ExternalTable(msgspec.Struct, frozen=True, kw_only=True):
    """Another issuer's codes."""

    issuer: str
    pattern: str
    """Regular expression that the whole code matches; ASCII."""


class RegionTable(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a camera's picture in which codes are looked for, in per cent of its width and height."""

    left_pct: Annotated[int, msgspec.Meta(ge=0, le=99)] = 0
    top_pct: Annotated[int, msgspec.Meta(ge=0, le=99)] = 0
    width_pct: Percent = 100
    height_pct: Percent = 100


class CameraTable(msgspec.Struct, frozen=True, kw_only=True):
    """A lane's camera."""

    address: str
    """V4L2 device (/dev/video0 or 0), rtsp://, http:// or udp:// address, a video file, or a folder of pictures."""
    width: Positive = 1280
    """Pixels asked of a device."""
    height: Positive = 720
    """Pixels asked of a device."""
    fps: Positive = 25
    """Pictures a second asked of a device; also the pace of a folder."""
    pixel_format: Literal["", "MJPG", "YUYV"] = "MJPG"
    """How a device sends its pictures; empty leaves it its own."""
    buffers: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    """Pictures that a device's driver keeps; each one more is an older picture."""
    exposure_us: Annotated[int, msgspec.Meta(ge=100, le=1_000_000)] | None = None
    """How long a device exposes a picture, in microseconds (steps of 100); left out, it sets that itself."""
    focus: Natural | None = None
    """A device's focus in its own steps; left out, it focuses itself."""
    gain: Natural | None = None
    """A device's gain in its own steps; left out, it is not touched."""
    region: RegionTable = RegionTable()
    """Where in the picture codes are looked for."""
    decode_share_pct: Annotated[int, msgspec.Meta(ge=10, le=100)] = 80
    """The most that decoding may take of one core, per cent; pictures are skipped above it."""
    open_timeout_ms: Positive = 5000
    """How long opening a stream may take."""
    read_timeout_ms: Positive = 3000
    """After so long without a picture a stream is lost."""
    frozen_after_ms: Natural = 10_000
    """How long a live picture may stay the same to the bit before it counts as frozen; 0 does not look."""
    loop: bool = True
    """Whether a file or folder starts again at its end."""


class TurnstileTable(msgspec.Struct, frozen=True, kw_only=True):
    """A lane's turnstile."""

    driver: Driver
    host: str = "127.0.0.1"
    port: AnyPort = 0
    release_timeout_ms: Annotated[int, msgspec.Meta(ge=1000, le=60_000)] = 5000
    """How long the barrier stays released for one visitor."""


class LaneTable(msgspec.Struct, frozen=True, kw_only=True):
    """One channel with a reader and a barrier."""

    id: Name
    lane_class: LaneClass = LaneClass.ORDINARY
    """Who it is for: ordinary, priority, staffed."""
    direction: Direction = Direction.ENTRY
    """Which way it leads: entry, exit."""
    service: Name = ADMISSION
    """What lies behind it: admission (the site itself), or a service of its own such as a shuttle or a lift."""
    camera: CameraTable | None = None
    """Leave out for a lane that only foreign readers serve."""
    turnstile: TurnstileTable

    @property
    def traits(self) -> LaneTraits:
        """What decisions need to know of the lane."""
        return LaneTraits(self.lane_class, self.direction, self.service)


class StaffTable(msgspec.Struct, frozen=True, kw_only=True):
    """A member of staff with a handheld."""

    id: Name
    """How the record names them: a number or a short name, not a full one."""
    role: StaffRole
    """What they may decide: steward, supervisor."""
    token_file: str
    """File that holds the token which their handheld sends; a different one for each."""


class WebTable(msgspec.Struct, frozen=True, kw_only=True):
    """The box's own HTTP service."""

    host: str = "127.0.0.1"
    port: AnyPort = 8080
    """0 takes a free port."""
    token_file: str = ""
    """File with the bearer token that /v1 asks for; needed unless the host is loopback."""
    tls_cert_file: str = ""
    """File with the certificate (PEM, chain included) for HTTPS; empty for HTTP.

    Phones give a page their camera over HTTPS only.
    """
    tls_key_file: str = ""
    """File with the certificate's private key (PEM)."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a box is told."""

    profile: Profile
    box_id: Name
    site_id: Name
    state_dir: str
    """Folder of the box's memory; relative paths start at the settings file."""
    policy_file: str
    hash_key_file: str
    """File with the site's 32-byte hash key in hex, the same at the centre."""
    centre: CentreTable
    issuer_keys: tuple[KeyTable, ...]
    list_keys: tuple[str, ...]
    """Public keys, as ID:KEY in hex, that may sign lists."""
    external_issuers: tuple[ExternalTable, ...] = ()
    site_broker: SiteBrokerTable | None = None
    """Leave out for a box that is alone on its site."""
    neighbours: tuple[NeighbourTable, ...] = ()
    lanes: Annotated[tuple[LaneTable, ...], msgspec.Meta(min_length=1)]
    staff: tuple[StaffTable, ...] = ()
    """Leave out for a box that nobody serves with a handheld."""
    web: WebTable = WebTable()


def load_settings(path: Path) -> Settings:
    """Return the settings in the file; SettingsError with every mistake in it when they cannot be used."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError((f"{path}: cannot be read: {error}",)) from error
    settings = load(text, Settings)
    problems = (
        *_key_problems(settings),
        *_neighbour_problems(settings),
        *_lane_problems(settings),
        *_staff_problems(settings),
        *_other_problems(settings),
    )
    if problems:
        raise SettingsError(tuple(problems))
    return settings


def code_book(settings: Settings, hash_key: bytes) -> CodeBook:
    """Return what tells credentials apart, as the checked settings have it."""
    keys = [(read_public_key(table.key), table.uses) for table in settings.issuer_keys]
    return CodeBook(
        issuer_keys={key.key_id: IssuerKey(key.key_id, key.key, uses) for key, uses in keys},
        external_issuers=tuple(
            ExternalIssuer(table.issuer, re.compile(table.pattern, re.ASCII))
            for table in settings.external_issuers
        ),
        hash_key=hash_key,
    )


def list_keys(settings: Settings) -> dict[bytes, PublicKey]:
    """Return the keys that may sign lists, by id."""
    return {key.key_id: key for key in map(read_public_key, settings.list_keys)}


def neighbour_keys(settings: Settings) -> dict[str, PublicKey]:
    """Return the keys with which the site's other boxes sign, by box id."""
    return {table.box_id: read_public_key(table.key) for table in settings.neighbours}


def _key_problems(settings: Settings) -> list[str]:
    texts = [(f"issuer_keys[{n}].key", table.key) for n, table in enumerate(settings.issuer_keys)]
    texts += [(f"list_keys[{n}]", text) for n, text in enumerate(settings.list_keys)]
    texts += [(f"neighbours[{n}].key", table.key) for n, table in enumerate(settings.neighbours)]
    problems = []
    for where, text in texts:
        try:
            key = read_public_key(text)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        if key.is_demo and settings.profile is not Profile.DEMO:
            problems.append(f"{where}: a demo key proves nothing; it is refused outside the demo profile")
    ids = [table.key.partition(":")[0] for table in settings.issuer_keys]
    return problems + [
        f"issuer_keys: id {name} stands there twice" for name in sorted(set(ids)) if ids.count(name) > 1
    ]


def _neighbour_problems(settings: Settings) -> list[str]:
    ids = [settings.box_id, *(table.box_id for table in settings.neighbours)]
    problems = [
        f"neighbours: box {name!r} stands there twice or is this box"
        for name in sorted(set(ids))
        if ids.count(name) > 1
    ]
    if settings.neighbours and settings.site_broker is None:
        problems.append("site_broker: missing, and without it the neighbours are not heard")
    return problems


def _lane_problems(settings: Settings) -> list[str]:
    ids = [lane.id for lane in settings.lanes]
    problems = [f"lanes: id {name!r} stands there twice" for name in sorted(set(ids)) if ids.count(name) > 1]
    for number, lane in enumerate(settings.lanes):
        if lane.camera is not None:
            problems += _region_problems(f"lanes[{number}].camera.region", lane.camera.region)
        if lane.turnstile.driver is Driver.TCP and not lane.turnstile.port:
            problems.append(f"lanes[{number}].turnstile.port: missing for the tcp driver")
        if lane.turnstile.driver is Driver.SIMULATED and settings.profile is not Profile.DEMO:
            problems.append(f"lanes[{number}].turnstile.driver: simulated is for the demo profile only")
    return problems


def _region_problems(where: str, region: RegionTable) -> list[str]:
    ends = [
        ("width_pct", region.left_pct + region.width_pct),
        ("height_pct", region.top_pct + region.height_pct),
    ]
    return [
        f"{where}.{name}: the region ends at {end} per cent of the picture" for name, end in ends if end > 100
    ]


def _staff_problems(settings: Settings) -> list[str]:
    ids = [table.id for table in settings.staff]
    problems = [f"staff: id {name!r} stands there twice" for name in sorted(set(ids)) if ids.count(name) > 1]
    if bool(settings.web.tls_cert_file) != bool(settings.web.tls_key_file):
        problems.append("web.tls_key_file: certificate and key come together or not at all")
    return problems


def _other_problems(settings: Settings) -> list[str]:
    problems = []
    if not re.match(r"^https?://[^/]+$", settings.centre.url):
        problems.append(f"centre.url: {settings.centre.url!r} is not http(s)://host:port")
    if settings.web.host not in _LOOPBACK and not settings.web.token_file:
        problems.append("web.token_file: needed when web.host is not loopback")
    for number, table in enumerate(settings.external_issuers):
        try:
            re.compile(table.pattern, re.ASCII)
        except re.error as error:
            problems.append(f"external_issuers[{number}].pattern: {error}")
    return problems
