"""`python -m scanner read` and `tune`, for whoever installs a camera."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from scanner.__main__ import main
from tests.scanner.mjpeg import MjpegCamera
from tests.scanner.pictures import coloured, jpeg, qr, scene, showing


def test_reads_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Engine, time and exact bytes of every code on one line each."""
    path = tmp_path / "code.png"
    cv2.imwrite(str(path), showing(b"SG1:\x1dPICTURE"))
    assert main(["read", str(path)]) == 0
    engine, took, payload = capsys.readouterr().out.strip().split("\t")
    assert engine == "zxing"
    assert took.endswith(" ms")
    assert payload == r"b'SG1:\x1dPICTURE'"


def test_reads_a_stream(capsys: pytest.CaptureFixture[str]) -> None:
    """A camera is watched for the time given."""
    with MjpegCamera(jpeg(showing(b"SG1:STREAM"))) as server:
        assert main(["read", server.address, "--seconds", "1.5"]) == 0
    assert capsys.readouterr().out.count("b'SG1:STREAM'") == 1


def test_says_by_its_exit_status_that_nothing_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty picture and an absent camera end with 1; the camera's health says why."""
    path = tmp_path / "empty.png"
    cv2.imwrite(str(path), scene())
    assert main(["read", str(path)]) == 1
    assert main(["read", "/dev/video77", "--seconds", "0.5"]) == 1
    assert "the camera cannot be opened" in capsys.readouterr().err


def test_reads_a_recording_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every picture of a folder is decoded, and an object a line tells of showings and of the whole."""
    for number, payload in enumerate((b"SG1:A", b"SG1:A", b"SG1:B")):
        cv2.imwrite(str(tmp_path / f"{number}.png"), showing(payload))
    assert main(["read", str(tmp_path), "--json", "--seconds", "20"]) == 0
    *reads, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert [read["payload"] for read in reads] == ["SG1:A", "SG1:B"]
    assert (summary["showings"], summary["frames"], summary["decoded"]) == (2, 3, 3)
    assert sum(summary["reads"].values()) == 3
    assert 0 < summary["age_ms"]["p50"] <= summary["age_ms"]["p99"]
    assert summary["problem"] == "the recording has ended"


def test_tunes_with_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a recording shows is measured, and advice is given in both languages."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (1280, 720))
    for _ in range(15):
        writer.write(coloured(scene((qr(b"SG1:TUNE", 2), 500, 200))))
    writer.release()
    assert main(["tune", str(path)]) == 0
    out = capsys.readouterr().out
    assert "module 2.0 px" in out
    assert "move closer or raise the resolution" in out
    assert "请靠近或提高分辨率" in out


def test_tuning_says_what_is_wrong_with_an_absent_camera(capsys: pytest.CaptureFixture[str]) -> None:
    """No camera is told as such, with what to do, and ends with 1."""
    assert main(["tune", "/dev/video77", "--seconds", "0.5", "--json"]) == 1
    (told,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert told["problem"] == "the camera cannot be opened"
    assert "check its cable" in told["advice"][0]["en"]
