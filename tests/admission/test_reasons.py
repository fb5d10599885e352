"""Every reason has its words, and none of them shames anybody."""

from __future__ import annotations

import re

import pytest

from admission.reasons import WORDINGS, Lamp, Reason, Verdict

CHINESE = re.compile(r"[\u4e00-\u9fff]")
SHAMING = re.compile(
    r"失信|黑名单|信用差|信用不良|欠款|欠费|违法|违规|逃票|骗|假票|冒用|嫌疑|可疑|拒绝|禁止|无权"
    r"|blacklist|debt|overdue|dishonest|untrust|fraud|cheat|fake|steal|stolen|suspect|criminal|illegal|reject|denied",
    re.IGNORECASE,
)
SECOND_PERSON_BLAME = re.compile(
    r"\byou (?:have|are|did|owe|cannot|may not)\b|您(?:已|的信用|没有|未|不)", re.IGNORECASE
)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_words_in_both_languages(reason: Reason) -> None:
    """For the display and for staff; its name on the wire is its own."""
    wording = WORDINGS[reason]
    assert reason.wording is wording
    assert reason.verdict is wording.verdict
    assert reason.value == reason.name
    for chinese, english in ((wording.zh, wording.en), (wording.staff_zh, wording.staff_en)):
        assert CHINESE.search(chinese)
        assert english.isascii()
        assert english == english.strip() != ""


@pytest.mark.parametrize("reason", Reason)
def test_the_display_fits_a_line_and_says_what_to_do(reason: Reason) -> None:
    """A visitor reads it in passing; who is not admitted is told the next step."""
    wording = reason.wording
    assert len(wording.zh) <= 20
    assert len(wording.en) <= 70
    if reason.verdict is not Verdict.ADMIT:
        assert "请" in wording.zh
        assert re.search(r"please|come to", wording.en, re.IGNORECASE)


@pytest.mark.parametrize("reason", Reason)
def test_no_wording_shames_a_person(reason: Reason) -> None:
    """Nobody behind them in the queue learns anything about a visitor, and staff read of codes, not of people."""
    wording = reason.wording
    for text in (wording.zh, wording.en):
        assert not SHAMING.search(text)
        assert not SECOND_PERSON_BLAME.search(text)
    for text in (wording.staff_zh, wording.staff_en):
        assert not re.search(r"失信|黑名单|骗|小偷|blacklist|fraud|cheat|thief|criminal", text, re.IGNORECASE)


@pytest.mark.parametrize(
    "reason",
    [Reason.CREDIT_DATA_OLD, Reason.CREDIT_OFFLINE_LIMIT, Reason.NO_CREDIT],
    ids=lambda reason: reason.name,
)
def test_the_display_never_speaks_of_credit_when_it_does_not_admit(reason: Reason) -> None:
    """That a line is used up is between the visitor and the counter."""
    assert not re.search(
        r"信用|额度|授信|credit|limit|pay", reason.wording.zh + reason.wording.en, re.IGNORECASE
    )


def test_the_list_of_words_is_closed() -> None:
    """No words without a reason, and every verdict occurs."""
    assert set(WORDINGS) == set(Reason)
    assert {wording.verdict for wording in WORDINGS.values()} == set(Verdict)


@pytest.mark.parametrize(
    ("reason", "lamp", "voice", "mendable"),
    [
        (Reason.TICKET, Lamp.GREEN, "ticket", False),
        (Reason.WRONG_SITE, Lamp.RED, "wrong-site", True),
        (Reason.UNLISTED_CODE, Lamp.AMBER, "unlisted-code", False),
    ],
)
def test_a_reason_has_a_lamp_a_voice_and_whether_it_can_be_mended(
    reason: Reason, lamp: Lamp, voice: str, mendable: bool
) -> None:
    """The lamp follows from the verdict, the recording from the name."""
    assert (reason.lamp, reason.voice, reason.is_mendable) == (lamp, voice, mendable)
