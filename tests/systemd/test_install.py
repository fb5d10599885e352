"""`make install`: what it lays out, and that systemd finds it in order."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("admission", "scanner", "offline_cache", "sync", "config", "gate_agent", "central")
UNITS = ("gate-agent.service", "central.service", "central-backup.service")
OTHER_UNITS = ("central-backup.timer", "scenic-gate-broker.path", "scenic-gate-broker.service")
MOST_EXPOSURE = 20
"""Of 100; systemd-analyze shows it as 2.0 of 10."""
OUTSIDE_THE_PACKAGES = {
    "lib/scenic-gate/app/LICENSE",
    "lib/scenic-gate/app/pyproject.toml",
    "lib/scenic-gate/app/requirements-bootstrap.lock",
    "lib/scenic-gate/app/requirements-central.lock",
    "lib/scenic-gate/app/requirements.lock",
    *(f"lib/systemd/system/{unit}" for unit in (*UNITS, *OTHER_UNITS)),
    "lib/sysusers.d/scenic-gate.conf",
    "lib/tmpfiles.d/scenic-gate.conf",
    "share/doc/scenic-gate/INSTALL.md",
    "share/scenic-gate/central.toml",
    "share/scenic-gate/default.toml",
    "share/scenic-gate/grafana/scenic-gate.json",
    "share/scenic-gate/lane.toml",
    "share/scenic-gate/mosquitto/scenic-gate.conf",
    "share/scenic-gate/prometheus/scenic-gate.rules.yml",
}

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: apt-get install systemd"
)


def make_install(*variables: str, umask: int = 0o022) -> None:
    """Run it, as its user's shell would."""
    subprocess.run(["make", "install", *variables], cwd=ROOT, check=True, capture_output=True, umask=umask)


def sources() -> set[str]:
    """The packages' files, as the application's folder holds them."""
    return {
        f"lib/scenic-gate/app/{path.relative_to(ROOT)}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def files_below(folder: Path) -> dict[str, int]:
    """Every file below a folder with its mode."""
    return {
        str(path.relative_to(folder)): path.stat().st_mode & 0o7777
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A prefix with everything in it, and an interpreter where the units look for one."""
    make_install(f"PREFIX={tmp_path}")
    program = tmp_path / "lib" / "scenic-gate" / "venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    return tmp_path


def test_it_lays_out_exactly_the_expected_files(tmp_path: Path) -> None:
    """Below DESTDIR and PREFIX, readable by everyone, whatever the umask of who installs."""
    make_install(f"DESTDIR={tmp_path}", umask=0o077)
    files = files_below(tmp_path / "usr" / "local")
    assert files.keys() == sources() | OUTSIDE_THE_PACKAGES
    assert set(files.values()) == {0o644}


def test_its_folders_are_open_to_everyone(tmp_path: Path) -> None:
    """The services' users have to get in."""
    make_install(f"DESTDIR={tmp_path}", umask=0o077)
    folders = [path for path in (tmp_path / "usr").rglob("*") if path.is_dir()]
    assert {path.stat().st_mode & 0o7777 for path in folders} == {0o755}


def test_a_second_install_leaves_no_module_of_the_first(tmp_path: Path) -> None:
    """A module that a release has dropped must not stay importable."""
    make_install(f"DESTDIR={tmp_path}")
    dropped = tmp_path / "usr" / "local" / "lib" / "scenic-gate" / "app" / "sync" / "dropped.py"
    dropped.touch()
    make_install(f"DESTDIR={tmp_path}")
    assert not dropped.exists()


def test_the_units_follow_the_prefix(tmp_path: Path) -> None:
    """As a package for /usr needs it."""
    make_install(f"DESTDIR={tmp_path}", "PREFIX=/usr")
    for unit in UNITS:
        text = (tmp_path / "usr" / "lib" / "systemd" / "system" / unit).read_text("utf-8")
        assert "\nExecStart=/usr/lib/scenic-gate/venv/bin/python -I -m " in text
        assert "/usr/local" not in text


@needs_analyze
@pytest.mark.parametrize("unit", [*UNITS, *OTHER_UNITS])
def test_systemd_finds_the_installed_unit_in_order(installed: Path, unit: str) -> None:
    """Not one word of complaint."""
    path = installed / "lib" / "systemd" / "system" / unit
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_analyze
@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_is_hardened(unit: str) -> None:
    """Its exposure is at most 2.0 of 10."""
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", "--no-pager"]
    done = subprocess.run(
        [*command, str(ROOT / "systemd" / unit)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("systemd-sysusers") is None or shutil.which("systemd-tmpfiles") is None,
    reason="making users in a folder needs root and systemd's tools",
)
def test_users_and_folders_are_made_as_the_units_need_them(tmp_path: Path) -> None:
    """The agent cannot read the centre's files, nor the centre the agent's; both can read their own."""
    make_install(f"DESTDIR={tmp_path}")
    (tmp_path / "etc").mkdir()
    for command in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        done = subprocess.run([*command, f"--root={tmp_path}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    ids = {
        name: (int(uid), int(gid))
        for name, _, uid, gid, *_ in (
            line.split(":") for line in (tmp_path / "etc" / "passwd").read_text("utf-8").splitlines()
        )
    }
    agent, central = ids["gate-agent"], ids["central"]
    expected = {
        "etc/scenic-gate": (0o755, 0, 0),
        "etc/scenic-gate/box": (0o750, 0, agent[1]),
        "etc/scenic-gate/centre": (0o750, 0, central[1]),
        "var/lib/gate-agent": (0o700, *agent),
        "var/lib/central": (0o700, *central),
    }
    found = {name: (tmp_path / name).stat() for name in expected}
    assert {n: (s.st_mode & 0o7777, s.st_uid, s.st_gid) for n, s in found.items()} == expected
    members = (tmp_path / "etc" / "group").read_text("utf-8")
    assert any(line.startswith("video:") and line.endswith(":gate-agent") for line in members.splitlines())
