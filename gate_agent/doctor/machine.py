"""The machine itself: disk, clock, secrets, and what reads codes."""

from __future__ import annotations

import ctypes
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificate

from gate_agent.doctor.findings import Finding, fail, ok, warn

LEAST_FREE_BYTES = 500_000_000
"""Seven days without a network at 96,000 events a day, and some for the list."""
RENEW_WITHIN = timedelta(days=30)
SLOW_FSYNC_MS = 50.0
FSYNC_TRIES = 9
UNSYNCHRONISED = 0x40
"""STA_UNSYNC of adjtimex(2)."""


def examine_disk(folder: Path) -> Iterator[Finding]:
    """Look at the place of the box's memory: may it be written, is there room, how long is a commit."""
    subject = f"disk ({folder})"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fsync_ms = _fsync_ms(folder)
    except OSError as error:
        yield fail(
            subject,
            f"cannot be written: {error}",
            f"make {folder} writable for the user that runs the agent, and see that the disk is not full or read-only",
            f"让运行程序的用户可以写入 {folder}，并检查磁盘是否已满或只读",
        )
        return
    space = os.statvfs(folder)
    free_bytes = space.f_bavail * space.f_frsize
    if free_bytes < LEAST_FREE_BYTES or (space.f_files and space.f_favail < 1000):
        yield warn(
            subject,
            f"{free_bytes / 1e6:.0f} MB and {space.f_favail} files are free",
            "make room: seven days without a network need 500 MB",
            "请清理磁盘：断网七天需要 500 MB",
        )
    elif fsync_ms > SLOW_FSYNC_MS:
        yield warn(
            subject,
            f"a write takes {fsync_ms:.0f} ms to reach it",
            "visitors wait for each write: use an SSD or an industrial card, and look for what else writes",
            "每次核验都要等待写盘：请换用固态盘或工业级存储卡，并检查其他写盘程序",
        )
    else:
        yield ok(subject, f"{free_bytes / 1e9:.1f} GB free, a write reaches it in {fsync_ms:.1f} ms")


def _fsync_ms(folder: Path) -> float:
    """Return what a small write takes to reach the disk, the middle one of some."""
    path = folder / f"doctor-{os.getpid()}.tmp"
    took_ms = []
    try:
        with path.open("wb") as file:
            for _ in range(FSYNC_TRIES):
                began_s = time.monotonic()
                file.write(bytes(4096))
                file.flush()
                os.fdatasync(file.fileno())
                took_ms.append((time.monotonic() - began_s) * 1000)
    finally:
        path.unlink(missing_ok=True)
    return sorted(took_ms)[FSYNC_TRIES // 2]


def examine_clock(centre_ahead_s: float | None) -> Iterator[Finding]:
    """Look at the clock: does anything keep it right, and does it agree with the centre's (`centre_ahead_s`)."""
    subject = "clock"
    remedy = (
        "install and start a time service: apt-get install systemd-timesyncd (or chrony)",
        "请安装并启动对时服务：apt-get install systemd-timesyncd（或 chrony）",
    )
    if centre_ahead_s is not None and abs(centre_ahead_s) > 30:
        yield fail(subject, f"{abs(centre_ahead_s):.0f} s {_off(centre_ahead_s)} the centre's", *remedy)
    elif not _is_synchronised():
        yield warn(subject, "nothing keeps it right", *remedy)
    else:
        agrees = "" if centre_ahead_s is None else f", {abs(centre_ahead_s):.0f} s from the centre's"
        yield ok(subject, f"synchronised{agrees}")


def _off(centre_ahead_s: float) -> str:
    return "behind" if centre_ahead_s > 0 else "ahead of"


def _is_synchronised() -> bool:
    """Return what the kernel says of its clock; reading it needs no right."""
    timex = ctypes.create_string_buffer(256)  # zeroed: no mode set, so nothing is changed
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(timex) < 0:
        return False
    # struct timex: the mode as an int padded to a long, four longs, and the status as an int
    status = ctypes.c_int.from_buffer(timex, 5 * ctypes.sizeof(ctypes.c_long)).value
    return not status & UNSYNCHRONISED


def examine_secrets(paths: Sequence[tuple[str, Path]]) -> Iterator[Finding]:
    """Look at the files with secrets: they are there (others checked that), and nobody else may read them."""
    for name, path in paths:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & stat.S_IRWXO:
            yield fail(
                f"secret ({name})",
                f"{path} may be read by everyone (mode {mode:o})",
                f"chmod 640 {path}, with the group that runs the agent",
                f"chmod 640 {path}，并设为运行程序的用户组",
            )
        else:
            yield ok(f"secret ({name})", f"mode {mode:o}")


def examine_engines(problems: Sequence[str]) -> Iterator[Finding]:
    """Say whether what reads codes can read one."""
    if not problems:
        yield ok("decoders", "zxing-cpp and zbar read a clean code")
    for problem in problems:
        yield fail(
            "decoders",
            problem,
            "install the libraries again: apt-get install libzbar0, then the locked Python packages",
            "请重新安装：apt-get install libzbar0，然后安装锁定的 Python 包",
        )


def examine_certificates(files: Iterable[tuple[str, Path]], now: datetime) -> Iterator[Finding]:
    """Say for how long brokers let this box in, by the setting that names each certificate."""
    for setting, path in files:
        left = load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc - now
        if left > RENEW_WITHIN:
            yield ok(f"certificate ({setting})", f"good for another {left.days} days")
            continue
        judge = warn if left > timedelta() else fail
        yield judge(
            f"certificate ({setting})",
            f"runs out in {left.days} days" if judge is warn else "has run out: no broker lets this box in",
            "have the centre make a token, and `gate-agent enrol SETTINGS TOKEN` renews it (INSTALL.md, step 4)",
            "请在中心生成令牌，并运行 `gate-agent enrol 设置文件 令牌` 续期（INSTALL.md 第 4 步）",
        )
