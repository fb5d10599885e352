"""What stands around a box: cameras, turnstiles, brokers, the centre."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime

import aiohttp

from config.settings import CameraTable, LaneTable
from gate_agent.doctor.findings import Finding, fail, ok, warn
from scanner.trial import CameraTrial

LEAST_FPS = 8.0
CONNECT_S = 3.0


def judge_camera(lane_id: str, table: CameraTable, trial: CameraTrial) -> Iterator[Finding]:
    """Say how the camera of a lane did."""
    subject = f"camera (lane {lane_id}, {table.address})"
    if not trial.is_open:
        yield fail(
            subject,
            "cannot be opened",
            "check the cable, the address, its user and password, and that the agent's user is in the group video",
            "请检查线缆、地址、用户名和密码，并确认运行程序的用户在 video 组内",
        )
    elif not trial.pictures:
        yield fail(subject, "is open and sends no picture", "switch it off and on", "请断电重启摄像头")
    elif trial.trouble is not None:
        wording = trial.trouble.wording
        yield warn(subject, wording.problem, wording.do_en, wording.do_zh)
    elif 0 < trial.fps < LEAST_FPS:
        yield warn(
            subject,
            f"sends {trial.fps:.1f} pictures a second",
            "give it more light or a shorter exposure; on USB use a port of its own; on a network check the load",
            "请增加光照或缩短曝光；USB 摄像头请单独占用接口；网络摄像头请检查带宽",
        )
    else:
        yield ok(subject, f"{trial.width}×{trial.height}, {trial.fps:.0f} pictures a second")
    for refusal in trial.refused:
        yield warn(
            subject,
            refusal,
            "set what the camera can do (`v4l2-ctl --list-formats-ext --list-ctrls` lists it), or leave it out",
            "请改为摄像头支持的数值（v4l2-ctl --list-formats-ext --list-ctrls 可列出），或删去该项设置",
        )


async def examine_turnstile(lane: LaneTable) -> AsyncIterator[Finding]:
    """Look whether the controller of a lane takes a connection; it hears no command."""
    turnstile = lane.turnstile
    subject = f"turnstile (lane {lane.id}, {turnstile.host}:{turnstile.port})"
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(turnstile.host, turnstile.port)
    except (OSError, TimeoutError) as error:
        yield fail(
            subject,
            f"cannot be reached: {error!s}".rstrip(": "),
            "check its power, its cable and its address; until it is back, use another lane",
            "请检查闸机供电、网线和地址；恢复前请使用其他通道",
        )
        return
    writer.close()
    yield ok(subject, "takes connections")


def judge_broker(name: str, problem: str) -> Iterator[Finding]:
    """Say whether a broker took and gave back a message."""
    if not problem:
        yield ok(f"broker ({name})", "takes what this box says and passes it on")
        return
    yield fail(
        f"broker ({name})",
        problem,
        "check that it runs, this box's user and password or certificate, and the access rules (INSTALL.md, step 3)",
        "请检查代理是否运行、本机的账号或证书，以及访问规则（INSTALL.md 第 3 步）",
    )


async def ask_centre(
    url: str, token: str, path: str, tls: ssl.SSLContext | None = None
) -> tuple[list[Finding], float | None]:
    """Return how the centre answers, and how far its clock is ahead in seconds, if it told the time."""
    subject = f"centre ({url})"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.get(f"{url}{path}", ssl=tls or True) as response,
        ):
            ahead_s = _ahead_s(response.headers.get("Date", ""))
            return [_judge_centre(subject, response.status)], ahead_s
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        found = fail(
            subject,
            f"cannot be reached: {type(error).__name__}",
            "the gate goes on with the list it has; check the network and that the centre runs",
            "闸机以现有名单继续工作；请检查网络和中心服务",
        )
        return [found], None


def _judge_centre(subject: str, status: int) -> Finding:
    if status == 401:
        return fail(
            subject,
            "refuses this box's token for lists",
            "copy the centre's list_token into the file that centre.list_token_file names",
            "请将中心的 list_token 写入 centre.list_token_file 所指的文件",
        )
    if status >= 500:
        return fail(subject, f"answers {status}", "look at the centre's log", "请查看中心服务日志")
    return ok(subject, "answers")


def _ahead_s(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time()
    except ValueError:
        return None


def judge_list(site_id: str, version: int, age_s: int, problem: str) -> Iterator[Finding]:
    """Say how the list of the box does."""
    if problem:
        yield fail(
            "list", problem, "it is fetched anew when the centre can be reached", "联网后会重新下载名单"
        )
    elif not version:
        yield fail(
            "list",
            "there is none: only signed tickets are admitted, within the bootstrap limit",
            "connect the box to the centre; in the broker's access rules it needs: topic read sg1/"
            f"{site_id}/down/#",
            f"请连接中心；代理访问规则中需有：topic read sg1/{site_id}/down/#",
        )
    elif age_s > 24 * 3600:
        yield warn(
            "list",
            f"version {version} is {age_s / 3600:.0f} h old",
            "check the link to the centre: credit is refused after the policy's time",
            "请检查与中心的链路：超过规定时限后将停止授信",
        )
    else:
        yield ok("list", f"version {version}, {age_s} s old")
