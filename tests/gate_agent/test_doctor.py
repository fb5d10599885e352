"""`gate-agent doctor`: each thing that can be wrong is found on the real part, with what to do."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from central.authority import new_authority, utc_now, write_pair
from config.settings import CameraTable, load_settings
from gate_agent.__main__ import EXIT_FAILED, main
from gate_agent.doctor.around import judge_camera, judge_list
from gate_agent.doctor.examination import examine
from gate_agent.doctor.findings import Finding, Level
from gate_agent.doctor.machine import (
    examine_certificates,
    examine_clock,
    examine_disk,
    examine_engines,
    examine_secrets,
)
from scanner.settings import CameraSettings
from scanner.trial import CameraTrial, try_camera
from scanner.trouble import Trouble
from sync.mqtt import Broker
from sync.trial import broker_problem
from tests.faults.box import Box

GOOD = CameraTrial(True, 26, 1.0, 1280, 720)
CAMERA = CameraTable(address="/dev/video0")


def _only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


def _found(box: Box) -> dict[str, Finding]:
    settings = load_settings(box.settings)

    async def collect() -> dict[str, Finding]:
        return {finding.subject.partition(" ")[0]: finding async for finding in examine(settings, box.folder)}

    return asyncio.run(collect())


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A box that does not run, with nothing around it."""
    box = Box(tmp_path)
    box.write_settings()
    return box


def test_every_fault_comes_with_what_to_do_in_both_languages(box: Box) -> None:
    """Whatever is not well names its remedy, and nothing that is well does."""
    for finding in _found(box).values():
        assert bool(finding.todo and finding.todo_zh) == (finding.level is not Level.OK)


def test_a_box_with_nothing_around_it(box: Box) -> None:
    """The machine is well; the centre, its broker and the list are missing."""
    found = _found(box)
    assert {found[name].level for name in ("disk", "decoders", "memory", "web")} == {Level.OK}
    assert {found[name].level for name in ("centre", "broker", "list")} == {Level.FAIL}


def test_the_command_prints_findings_for_people_and_for_machines(
    box: Box, capsys: pytest.CaptureFixture[str]
) -> None:
    """It ends with 1 when something does not work; with --json each line is an object."""
    assert main(["doctor", str(box.settings)]) == EXIT_FAILED
    assert "fail list: there is none" in capsys.readouterr().out
    assert main(["doctor", "--json", str(box.settings)]) == EXIT_FAILED
    levels = {json.loads(line)["level"] for line in capsys.readouterr().out.splitlines()}
    assert {"ok", "fail"} <= levels


async def test_a_running_box_is_asked_and_not_disturbed(box: Box) -> None:
    """While the agent holds the memory, the doctor hears from it how it does, and both go on."""
    await box.start()
    try:
        settings = load_settings(box.settings)
        found = [finding async for finding in examine(settings, box.folder)]
        seen = {finding.subject: finding.seen for finding in found}
        assert seen["turnstile (lane 1)"] == "barrier CLOSED"
        assert any(finding.subject == "agent" and finding.level is Level.OK for finding in found)
        assert any("running agent does not reach it" in finding.seen for finding in found)
        assert (await box.get("/healthz"))[0] == 200
    finally:
        await box.stop()


async def test_a_stuck_agent_is_named(box: Box) -> None:
    """An agent that holds the memory and does not answer is a fault of its own."""
    await box.start()
    moved = replace(box, web_port=1)
    try:
        settings = load_settings(box.settings)
        moved.write_settings()
        settings = load_settings(box.settings)
        found = [finding async for finding in examine(settings, box.folder)]
        assert any("does not answer" in finding.seen for finding in found)
    finally:
        await box.stop()


def test_damaged_memory_is_kept_for_help(box: Box) -> None:
    """A database that is none is reported, with the advice not to delete it."""
    box.state_path.mkdir()
    (box.state_path / "box.db").write_bytes(b"not a database" * 1000)
    memory = _found(box)["memory"]
    assert memory.level is Level.FAIL
    assert "do not delete" in memory.todo


def test_a_port_in_use_is_named(box: Box) -> None:
    """Another program on the box's port is found before the agent fails on it."""
    with socket.create_server(("127.0.0.1", box.web_port)):
        assert _found(box)["web"].level is Level.FAIL


def test_a_disk_that_cannot_be_written() -> None:
    """A folder that cannot be made is a fault, with the reason."""
    finding = _only(examine_disk(Path("/proc/nothing")))
    assert finding.level is Level.FAIL


def test_a_disk_with_little_room(tmp_path: Path) -> None:
    """Less room than a week needs is said in time; a small file system shows it."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", tmp_path], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        assert _only(examine_disk(tmp_path)).level is Level.WARN
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize(("ahead_s", "level"), [(31.0, Level.FAIL), (-31.0, Level.FAIL)])
def test_a_clock_that_is_not_the_centres(ahead_s: float, level: Level) -> None:
    """More than 30 s between box and centre is a fault, whichever is ahead."""
    finding = _only(examine_clock(ahead_s))
    assert finding.level is level
    assert ("behind" if ahead_s > 0 else "ahead") in finding.seen


def test_a_clock_that_agrees_or_cannot_be_compared() -> None:
    """Within 30 s, or with no centre to ask, it depends on whether something keeps the clock right."""
    assert {_only(examine_clock(ahead_s)).level for ahead_s in (None, 2.0)} <= {Level.OK, Level.WARN}


@pytest.mark.parametrize(("mode", "level"), [(0o640, Level.OK), (0o644, Level.FAIL)])
def test_a_secret_that_everyone_can_read(tmp_path: Path, mode: int, level: Level) -> None:
    """A file with a secret that others may read is a fault, with the command that mends it."""
    path = tmp_path / "hash.key"
    path.touch()
    path.chmod(mode)
    assert _only(examine_secrets([("hash_key_file", path)])).level is level


def test_a_decoder_that_reads_nothing() -> None:
    """An engine that cannot read a clean code is a fault; none is here."""
    assert _only(examine_engines([])).level is Level.OK
    assert _only(examine_engines(["zbar does not read a clean code"])).level is Level.FAIL


@pytest.mark.parametrize(
    ("trial", "level"),
    [
        (GOOD, Level.OK),
        (CameraTrial(), Level.FAIL),
        (CameraTrial(is_open=True), Level.FAIL),
        (replace(GOOD, trouble=Trouble.DARK), Level.WARN),
        (replace(GOOD, trouble=Trouble.BLINDED), Level.WARN),
        (replace(GOOD, trouble=Trouble.COVERED), Level.WARN),
        (replace(GOOD, pictures=5), Level.WARN),
        (replace(GOOD, pictures=1), Level.OK),
    ],
)
def test_what_a_camera_gave_is_judged(trial: CameraTrial, level: Level) -> None:
    """A camera that is missing, silent, covered, blinded or slow is named as such."""
    assert _only(judge_camera("1", CAMERA, trial)).level is level


def test_what_a_camera_did_not_take_is_named() -> None:
    """A setting that the device refused is a warning of its own beside the verdict."""
    trial = replace(GOOD, refused=("fps: 25 was asked for, the camera has 10",))
    levels = [finding.level for finding in judge_camera("1", CAMERA, trial)]
    assert levels == [Level.OK, Level.WARN]


def test_a_camera_is_tried(tmp_path: Path) -> None:
    """A folder of pictures is as good as a camera: size and sight are judged; nothing is no camera."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, 32:] = 200
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    trial = try_camera(CameraSettings(str(tmp_path)))
    assert (trial.width, trial.height, trial.pictures) == (64, 48, 1)
    assert trial.trouble is None
    assert not try_camera(CameraSettings(str(tmp_path / "none.mp4"))).is_open


@pytest.mark.parametrize(
    ("version", "age_s", "problem", "level"),
    [
        (7, 60, "", Level.OK),
        (7, 25 * 3600, "", Level.WARN),
        (0, 0, "", Level.FAIL),
        (7, 60, "the kept list cannot be used", Level.FAIL),
    ],
)
def test_the_list_is_judged(version: int, age_s: int, problem: str, level: Level) -> None:
    """A list that is missing, damaged or old is named as such."""
    assert _only(judge_list("fairy", version, age_s, problem)).level is level


async def test_a_broker_that_is_not_there() -> None:
    """A broker that nobody can reach is named with its address."""
    problem = await broker_problem(Broker(host="127.0.0.1", port=1, client_id="x"), "a", timeout_s=0.5)
    assert "127.0.0.1:1 cannot be reached" in problem


@pytest.mark.parametrize(
    ("age_days", "level", "words"),
    [
        (0, Level.OK, "another 824 days"),
        (800, Level.WARN, "runs out in 24 days"),
        (826, Level.FAIL, "has run out"),
    ],
)
def test_a_certificate_that_runs_out(tmp_path: Path, age_days: int, level: Level, words: str) -> None:
    """A month ahead of the day on which no broker lets the box in any more."""
    now = utc_now()
    made = new_authority(now).for_client("fairy/B1", now - timedelta(days=age_days, minutes=1))
    path, _ = write_pair(*made, tmp_path / "box")
    [finding] = examine_certificates([("centre.tls_cert_file", path)], now)
    assert (finding.level, finding.subject) == (level, "certificate (centre.tls_cert_file)")
    assert words in finding.seen
