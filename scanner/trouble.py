"""What can be wrong with a camera, and what to do about it: words for staff, in English and Chinese."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import assert_never


@dataclass(frozen=True, slots=True)
class Wording:
    """What is wrong, and what to do: one sentence each, in English and Chinese."""

    problem: str
    do_en: str
    do_zh: str


class Trouble(enum.Enum):
    """Why a camera does not help to read codes."""

    CANNOT_OPEN = "cannot_open"
    NO_FRAMES = "no_frames"
    ENDED = "ended"
    STOPPED = "stopped"
    DARK = "dark"
    BLINDED = "blinded"
    COVERED = "covered"
    FROZEN = "frozen"

    @property
    def wording(self) -> Wording:
        """The words for it."""
        match self:
            case Trouble.CANNOT_OPEN:
                return Wording(
                    "the camera cannot be opened",
                    "check its cable and power, the address, its user and password; it is opened again by itself",
                    "请检查摄像头的线缆、电源、地址、用户名和密码；恢复后会自动重新打开",
                )
            case Trouble.NO_FRAMES:
                return Wording(
                    "the camera sends no frames",
                    "switch the camera off and on; it is opened again by itself",
                    "请断电重启摄像头；恢复后会自动重新打开",
                )
            case Trouble.ENDED:
                return Wording(
                    "the recording has ended",
                    "set loop = true to play it again",
                    "如需循环播放，请设置 loop = true",
                )
            case Trouble.STOPPED:
                return Wording("stopped", "start the agent", "请启动设备程序")
            case Trouble.DARK:
                return Wording(
                    "the camera's picture is dark",
                    "take off what covers the lens, switch on the lamp, or set a longer exposure",
                    "请移开遮挡镜头的物品、打开补光灯，或调长曝光时间",
                )
            case Trouble.BLINDED:
                return Wording(
                    "the camera is blinded: its picture is white",
                    "shade the lens from sun or lamp, turn it a little, or set a shorter exposure",
                    "请为镜头遮挡阳光或灯光、略微调整角度，或调短曝光时间",
                )
            case Trouble.COVERED:
                return Wording(
                    "the camera's picture shows nothing: the lens may be covered",
                    "clean the lens of snow, dew or dirt, and take off what covers it",
                    "请清除镜头上的积雪、水汽或污渍，并移开遮挡物",
                )
            case Trouble.FROZEN:
                return Wording(
                    "the camera's picture stands still",
                    "switch the camera off and on; it was opened anew and still sends the same picture",
                    "请断电重启摄像头；程序已重新打开过，画面仍然不变",
                )
        assert_never(self)
