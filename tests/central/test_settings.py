"""Settings and key files: every mistake at once, and no secret in a message."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from admission.keys import read_public_key, signing_key_text
from central.keys import KeyFileError, create_keys, load_keys
from central.settings import Loaded, load_settings
from central.store import open_store
from config.loader import SettingsError
from tests.central.world import signing_key

POLICY_FILE = Path(__file__).parents[2] / "config" / "policies" / "default.toml"
SETTINGS = f"""
profile = "site"
store = "centre.db"
lists = "lists"
keys = "keys"
policy = "{POLICY_FILE}"

[broker]
host = "127.0.0.1"
port = 1883
client_id = "centre"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with keys and settings without a mistake."""
    create_keys(tmp_path / "keys", demo=False)
    (tmp_path / "centre.toml").write_text(SETTINGS)
    return tmp_path


def problems(folder: Path, text: str) -> tuple[str, ...]:
    """What is wrong with the settings `text`."""
    (folder / "centre.toml").write_text(text)
    with pytest.raises(SettingsError) as raised:
        load_settings(folder / "centre.toml")
    return raised.value.problems


def test_settings_are_loaded_with_what_they_name(folder: Path) -> None:
    """Paths are relative to the file; what is left out has its default."""
    loaded: Loaded = load_settings(folder / "centre.toml")
    assert loaded.store == folder / "centre.db"
    assert "fairy" in loaded.policy.sites
    assert (loaded.settings.http.host, loaded.settings.list_pace.quiet_ms) == ("127.0.0.1", 300)


def test_every_mistake_is_reported_at_once(folder: Path) -> None:
    """Token, keys and policy are all looked at."""
    text = SETTINGS.replace('keys = "keys"', 'keys = "none"').replace(str(POLICY_FILE), "none.toml")
    found = problems(folder, f'{text}\n[http]\nhost = "0.0.0.0"\nlist_token = "short"\n')
    assert [line.split(":")[0] for line in found] == [
        "http.list_token",
        "http.token",
        "keys",
        "policy",
    ]


def test_token_of_the_boxes_is_another_one(folder: Path) -> None:
    """What a box holds must not sell tickets."""
    token = "t" * 20
    found = problems(folder, f'{SETTINGS}\n[http]\ntoken = "{token}"\nlist_token = "{token}"\n')
    assert found == ("http.list_token: must not be http.token, which may sell tickets",)


def test_unknown_setting_is_refused(folder: Path) -> None:
    """A misspelt name does not pass for the default."""
    (found,) = problems(folder, f"{SETTINGS}\n[http]\nprot = 1\n")
    assert found.startswith("http.prot: unknown setting")


def test_demo_keys_are_for_the_demo_only(folder: Path) -> None:
    """Keys that prove nothing are refused by every other profile."""
    for path in (folder / "keys").iterdir():
        path.unlink()
    create_keys(folder / "keys", demo=True)
    assert problems(folder, SETTINGS) == ("keys: demo keys, which only the profile demo accepts",)
    (folder / "centre.toml").write_text(SETTINGS.replace('"site"', '"demo"'))
    assert load_settings(folder / "centre.toml").keys.has_demo


def test_made_up_money_is_for_the_demo_only(folder: Path) -> None:
    """A site that asked the mock would think itself paid."""
    mock = SETTINGS + '\n[payments]\nprovider = "mock"\n'
    assert problems(folder, mock) == (
        "payments.provider: the mock's money is made up, and only for the profile demo",
    )
    (folder / "centre.toml").write_text(mock.replace('"site"', '"demo"'))
    assert load_settings(folder / "centre.toml").settings.payments.retry_after_h == (1, 6, 24, 48)


def test_keys_are_made_once(tmp_path: Path) -> None:
    """Missing files are made, those that are there stay; nobody else may read them."""
    made = create_keys(tmp_path, demo=False)
    (tmp_path / "list.key").unlink()
    again = create_keys(tmp_path, demo=False)
    assert again.issuer.key_id == made.issuer.key_id
    assert again.hash_key == made.hash_key
    assert again.lists.key_id != made.lists.key_id
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("name", "text", "mode", "problem"),
    [
        ("issuer.key", "secret", 0o600, "ID:KEY"),
        ("hash.key", "00ff", 0o600, "not 32 bytes in hex"),
        ("hash.key", "s" * 64, 0o600, "not 32 bytes in hex"),
        ("list.key", signing_key_text(signing_key("x")), 0o644, "others may read it"),
    ],
)
def test_bad_key_file_is_named_and_not_quoted(
    tmp_path: Path, name: str, text: str, mode: int, problem: str
) -> None:
    """The message helps whoever mends it and tells nothing to others."""
    create_keys(tmp_path, demo=False)
    (tmp_path / name).write_text(text)
    (tmp_path / name).chmod(mode)
    with pytest.raises(KeyFileError) as raised:
        load_keys(tmp_path)
    assert name in str(raised.value)
    assert problem in str(raised.value)
    assert text not in str(raised.value)


def central(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command of the centre to its end."""
    command = [sys.executable, "-I", "-m", "central", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_keys_command_prints_public_keys(tmp_path: Path) -> None:
    """What boxes are set up with is printed, and only that."""
    done = central("keys", tmp_path / "keys", "--demo")
    printed = json.loads(done.stdout)
    assert read_public_key(printed["issuer"]).is_demo
    assert read_public_key(printed["list"]).is_demo
    assert (tmp_path / "keys" / "issuer.key").read_text().split(":")[1].strip() not in done.stdout


def test_backup_command_names_the_file_by_the_time(folder: Path) -> None:
    """So that a timer makes one for each weekday; a centre that never ran has nothing to copy."""
    command = ("backup", folder / "centre.toml", folder / "centre-%Y.db")
    assert central(*command).returncode == 2
    open_store(load_settings(folder / "centre.toml").store).close()
    printed = json.loads(central(*command).stdout)
    assert printed["backup"] == str(folder / f"centre-{datetime.now(UTC).astimezone():%Y}.db")
    assert Path(printed["backup"]).stat().st_size == printed["bytes"] > 0


def test_check_command_reports_mistakes(folder: Path) -> None:
    """Status 0 for good settings, 2 and all mistakes for others."""
    assert central("check", folder / "centre.toml").returncode == 0
    (folder / "centre.toml").write_text(SETTINGS.replace("1883", '"x"') + "\n[http]\nport = -1\n")
    done = central("check", folder / "centre.toml")
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["broker.port", "http.port"]
