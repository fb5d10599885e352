"""The program's command line: what it says about settings, and the key it shows."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest

from admission.keys import read_public_key
from gate_agent.__main__ import EXIT_FAILED, EXIT_STORE, EXIT_WRONG_SETTINGS, main
from gate_agent.identity import FILE_NAME
from gate_agent.logs import JsonFormatter
from offline_cache.opening import connect
from tests.faults.box import Box

Output = pytest.CaptureFixture[str]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A settings file without a mistake."""
    box = Box(tmp_path)
    box.write_settings()
    return box


def change(box: Box, old: str, new: str) -> None:
    """Put a mistake into the settings."""
    text = box.settings.read_text()
    assert old in text
    box.settings.write_text(text.replace(old, new))


def check(box: Box) -> int:
    """Run `gate-agent check`."""
    return main(["check", str(box.settings)])


def test_settings_without_a_mistake(box: Box, capsys: Output) -> None:
    """`check` says so and ends with 0; it makes nothing."""
    assert check(box) == 0
    assert "in order" in capsys.readouterr().out
    assert not box.state_path.exists()


def test_every_mistake_is_told_at_once(box: Box, capsys: Output) -> None:
    """`check` names every mistake with its place, one a line, and ends with 2."""
    change(box, 'site_id = "fairy"', "site_id = 5")
    change(box, "broker_port =", "broker_prt =")
    change(box, 'driver = "simulated"', 'driver = "magic"')
    change(box, "release_timeout_ms = 1000", "release_timeout_ms = 1")
    assert check(box) == EXIT_WRONG_SETTINGS
    lines = capsys.readouterr().err.splitlines()
    for place in (
        "site_id",
        "centre.broker_prt",
        "centre.broker_port",
        "lanes[0].turnstile.driver",
        "lanes[0].turnstile.release_timeout_ms",
    ):
        assert sum(f" {place}:" in line for line in lines) == 1, (place, lines)
    assert all(line.startswith(str(box.settings)) for line in lines)


def test_mistakes_in_the_named_files_are_told_at_once(box: Box, capsys: Output) -> None:
    """The policy and the secrets that the settings name are looked at too, and no secret is quoted."""
    (box.folder / "hash.key").write_text("5ec2e7 is too short")
    (box.folder / "empty.token").touch()
    (box.folder / "two.lines").write_text("5ec2e7\n5ec2e7\n")
    (box.folder / "policy.toml").write_text('version = "1"\ntimezone = "Nowhere/At_All"\n')
    change(box, box.settings.read_text().split("policy_file = ")[1].split("\n")[0], '"policy.toml"')
    change(box, "[web]", '[web]\ntoken_file = "empty.token"')
    change(box, "[centre]", '[centre]\npassword_file = "missing"\nlist_token_file = "two.lines"')
    assert check(box) == EXIT_WRONG_SETTINGS
    complaint = capsys.readouterr().err
    for place in (
        "sites: missing",
        "resume_within_s: missing",
        " hash_key_file: ",
        " web.token_file: ",
        " centre.password_file: ",
        " centre.list_token_file: ",
    ):
        assert place in complaint, place
    assert "5ec2e7" not in complaint


def test_site_that_the_policy_does_not_know(box: Box, capsys: Output) -> None:
    """A box at a site without a policy does not start."""
    change(box, '"fairy"', '"nowhere"')
    assert check(box) == EXIT_WRONG_SETTINGS
    assert "site_id: 'nowhere'" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"[[[ no toml", b"\xff\xfe", b""])
@pytest.mark.parametrize("command", ["check", "run", "key"])
def test_file_that_is_no_settings(box: Box, capsys: Output, command: str, content: bytes) -> None:
    """Garbage is refused by every command with 2 and words, never with a traceback."""
    box.settings.write_bytes(content)
    assert main([command, str(box.settings)]) == EXIT_WRONG_SETTINGS
    complaint = capsys.readouterr().err
    assert str(box.settings) in complaint
    assert "Traceback" not in complaint


@pytest.mark.parametrize("command", ["check", "run", "key"])
def test_settings_that_are_not_there(tmp_path: Path, capsys: Output, command: str) -> None:
    """A missing file is named."""
    assert main([command, str(tmp_path / "missing.toml")]) == EXIT_WRONG_SETTINGS
    assert "cannot be read" in capsys.readouterr().err


def test_key_is_made_once_and_kept_secret(box: Box, capsys: Output) -> None:
    """`key` prints the public half of a key that stays the same, in a file that only its owner reads."""
    texts = []
    for _ in range(2):
        assert main(["key", str(box.settings)]) == 0
        texts.append(capsys.readouterr().out.strip())
    assert texts[0] == texts[1]
    assert read_public_key(texts[0]).is_demo
    file = box.state_path / FILE_NAME
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert texts[0] not in file.read_text()


def test_key_file_that_holds_no_key(box: Box, capsys: Output) -> None:
    """A damaged key file is reported and left alone: it is not for a program to replace a box's identity."""
    box.state_path.mkdir()
    (box.state_path / FILE_NAME).write_text("5ec2e7 damaged")
    assert main(["key", str(box.settings)]) == EXIT_FAILED
    assert "5ec2e7" not in capsys.readouterr().err
    assert (box.state_path / FILE_NAME).read_text() == "5ec2e7 damaged"


def test_damaged_memory_is_salvaged_and_told(box: Box, capsys: Output) -> None:
    """What was saved, what was damaged, and where the damaged file is; a sound memory is left alone, with status 3."""
    path = box.state_path / "box.db"
    box.state_path.mkdir()
    connect(path).close()
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 10] = b"\xa5" * 4096 * 8
    path.write_bytes(content)
    assert main(["salvage", str(box.settings)]) == 0
    told = capsys.readouterr().out
    assert "saved       ledger: " in told
    assert "damaged     " in told
    assert "box.db.damaged-" in told
    assert main(["salvage", str(box.settings)]) == EXIT_STORE
    assert "passes the check" in capsys.readouterr().err


def test_log_line_is_one_json_object() -> None:
    """Whatever is logged, and however many lines an exception has, it is one line of JSON with everything in it."""
    try:
        raise ValueError("门\nticket")
    except ValueError as error:
        record = logging.getLogger("gate").makeRecord(
            "gate", logging.WARNING, "f", 1, "lost %s", ("北\nnorth",), (type(error), error, error.__traceback__),
            extra={"lane": "1", "odd": {1, 2}},
        )  # fmt: skip
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert line.keys() == {"time", "level", "logger", "message", "lane", "odd", "exception"}
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "gate", "lost 北\nnorth")
    assert "ValueError: 门\nticket" in line["exception"]
    assert line["time"].endswith("+00:00")
