"""The example settings load as they stand, once the keys are filled in, and explain every field."""

from __future__ import annotations

import re
import shutil
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import pytest

from admission.keys import public_key_text
from central import settings as central_settings
from central.authority import utc_now, write_pair
from central.keys import create_keys, load_keys
from config.settings import Profile, Settings, load_settings
from tests.admission.makers import signing_key

ROOT = Path(__file__).parents[2]
LANE = ROOT / "config" / "profiles" / "lane.toml"
CENTRAL = ROOT / "systemd" / "central.toml"
ASSIGNMENT = re.compile(r"^(\w+) = (?:\"[^\"]*\"|\[[^\]]*\]|[\w.]+) +# .+$")


def fields(kind: Any) -> Iterator[str]:
    """Every setting's name in a struct, those of its tables included."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            inner = list(fields(field.type))
            yield from inner or [field.encode_name]
    elif get_origin(kind) in (Annotated, list, tuple, Union, types.UnionType):
        for part in get_args(kind):
            yield from fields(part)


def assignments(path: Path) -> list[str]:
    """The lines of a settings file that set something, up to the second lane, which shows what may be left out."""
    head = path.read_text("utf-8").split("# a second lane")[0]
    tail = path.read_text("utf-8").split("[web]")[-1]
    return [line for line in f"{head}\n{tail}".splitlines() if re.match(r"\w+ = ", line)]


def test_the_lane_profile_loads_once_its_keys_are_filled_in(tmp_path: Path) -> None:
    """A real box: no demo key, a turnstile that exists."""
    text = LANE.read_text("utf-8")
    for seed, name in enumerate(("list", "issuer"), start=1):
        text = text.replace(f"REPLACE: {name}", public_key_text(signing_key(seed, demo=False).public))
    assert "REPLACE:" not in text
    path = tmp_path / "box.toml"
    path.write_text(text, "utf-8")
    settings = load_settings(path)
    assert (settings.profile, [lane.id for lane in settings.lanes]) == (Profile.LANE, ["1", "2", "H1"])
    assert settings.state_dir == "/var/lib/gate-agent"


def test_the_centres_settings_load_once_its_secrets_are_filled_in(tmp_path: Path) -> None:
    """With keys made for it."""
    keys = tmp_path / "keys"
    create_keys(keys, demo=False)
    for name in ("central", "web"):
        write_pair(*load_keys(keys).authority.for_server([name], utc_now()), tmp_path / "tls" / name)
    shutil.copy(keys / "authority.crt", tmp_path / "tls")
    text = CENTRAL.read_text("utf-8").replace("/var/lib/central/keys", str(keys))
    text = text.replace("/var/lib/central/tls", str(tmp_path / "tls"))
    (tmp_path / "centre.toml").write_text(text, "utf-8")
    (tmp_path / "policy.toml").write_bytes((ROOT / "config" / "policies" / "default.toml").read_bytes())
    loaded = central_settings.load_settings(tmp_path / "centre.toml")
    assert loaded.store == Path("/var/lib/central/centre.db")
    assert loaded.settings.broker.tls_cert_file == str(tmp_path / "tls" / "central.crt")
    assert loaded.tls is not None


@pytest.mark.parametrize(
    ("path", "kind"), [(LANE, Settings), (CENTRAL, central_settings.Settings)], ids=["lane", "central"]
)
def test_every_setting_stands_there_with_one_line_that_explains_it(path: Path, kind: Any) -> None:
    """No setting is missing and none goes without its sentence."""
    lines = assignments(path)
    assert [line for line in lines if not ASSIGNMENT.match(line)] == []
    assert {line.split(" ", 1)[0] for line in lines} == set(fields(kind))
