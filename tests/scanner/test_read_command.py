"""`python -m scanner read`, for whoever installs a camera."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from scanner.__main__ import main
from tests.scanner.mjpeg import MjpegCamera
from tests.scanner.pictures import jpeg, scene, showing


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
