"""The path of one scan: read, decide, record, open, and watch who goes through.

    scan -> credential -> answer (facts, decision and use in one commit) -> indicator, barrier -> closing

No rule and no SQL lives here. The barrier is never told to open before the use is committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from admission import passage
from admission.answers import Answer, Decision, NoRoomError
from admission.codes import CodeBook, Credential, Rejected, parse
from admission.decision import decide, refuse
from admission.facts import ORDINARY_ENTRY, Attempt, Facts, LaneTraits
from admission.overrides import decide_override
from admission.passage import Signal, State
from admission.policy import Policy
from admission.reasons import Reason
from admission.scan import Scan
from admission.staff import StaffAct
from admission.tickets import Outcome
from gate_agent.ports import (
    AdmissionStore,
    Clock,
    Indicator,
    ScanSource,
    Turnstile,
    TurnstileLostError,
    TurnstileSignal,
)
from gate_agent.refusals import Refusals, Refused
from gate_agent.tally import Tally

log = logging.getLogger(__name__)

CONTROLLER_GRACE_S = 2.0
"""How long after the release's end a turnstile may still say what happened."""


class LaneBusyError(Exception):
    """Another visitor is in the lane."""


class UnknownRefusalError(Exception):
    """Nothing to override: the refusal was answered, is too old, or was given elsewhere."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What tells credentials apart, what decides about them, and what the lane is that they are for.

    `lets_follow`: whether a group's ticket that was shown once lets in one person after the other, as a barrier must.
    """

    book: CodeBook
    policy: Policy
    lane: LaneTraits = ORDINARY_ENTRY
    lets_follow: bool = True


class Lane:
    """One channel: a reader, a barrier, and one visitor at a time."""

    def __init__(
        self,
        lane_id: str,
        rules: Rules,
        store: AdmissionStore,
        turnstile: Turnstile,
        indicator: Indicator,
        clock: Clock,
        *,
        release_timeout_ms: int,
        on_recorded: Callable[[], None],
    ) -> None:
        self.lane_id = lane_id
        self.tally = Tally()
        self._rules = rules
        self._store = store
        self._turnstile = turnstile
        self._indicator = indicator
        self._clock = clock
        self._release_timeout_ms = release_timeout_ms
        self._on_recorded = on_recorded
        self._group: Scan | None = None
        self._followers: asyncio.Queue[Scan] = asyncio.Queue()
        self._state = State.LOST
        self._admission_id: bytes | None = None
        self._answering_since_ns: int | None = None
        self._turn = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._refusals = Refusals(rules.policy.override_within_s)
        self._timer: asyncio.TimerHandle | None = None
        self._timeouts: asyncio.Queue[TurnstileSignal] = asyncio.Queue()
        self._breakdowns: asyncio.Queue[Exception] = asyncio.Queue()

    @property
    def state(self) -> State:
        """What the barrier is doing."""
        return self._state

    def adopt(self, policy: Policy) -> None:
        """Decide by `policy` from the next visitor on."""
        self._rules = replace(self._rules, policy=policy)
        self._refusals.keep_for(policy.override_within_s)

    async def serve(self, source: ScanSource) -> None:
        """Answer every scan of `source`, one visitor after the other, until cancelled."""
        while True:
            await self.until_free()
            scan = await source.next_scan()
            async with self._turn:
                await self.until_free()
                await self._present(scan)

    async def watch(self) -> None:
        """Follow the turnstile and record how each admission ends, until cancelled or the store breaks."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(self._turnstile.next_signal))
            tasks.create_task(self._follow(self._timeouts.get))
            tasks.create_task(self._let_follow())
            tasks.create_task(self._fail())

    async def present(self, scan: Scan) -> Answer:
        """Answer one scan from elsewhere; LaneBusyError, and nothing spent, when another visitor is in the lane."""
        if self._turn.locked() or not self._is_free():
            raise LaneBusyError(self.lane_id)
        async with self._turn:
            return await self._present(scan)

    async def override(self, act: StaffAct) -> Answer:
        """Let in whom this lane refused a moment ago; UnknownRefusalError when that refusal cannot be answered.

        The answer is a refusal again when the member of staff may not. Each refusal lets in one visitor at most.
        """
        if self._turn.locked() or not self._is_free():
            raise LaneBusyError(self.lane_id)
        async with self._turn:
            now_ns = self._clock.monotonic_ns()
            refused = self._refusals.find(act.refused_record, now_ns)
            if refused is None:
                raise UnknownRefusalError(act.refused_record)
            now_ms = self._clock.wall_ms()
            judge = partial(self._judge_override, refused, act, now_ms)
            attempt = replace(refused.attempt, at_ms=now_ms)
            answer = await self._record(attempt, judge)
            if answer.admission_id is not None:
                self._refusals.strike(act.refused_record)
            elif answer.decision.reason is not refused.reason:
                self._keep(answer, attempt, refused.decided | {refused.reason})
            return await self._act_on(answer, now_ns)

    async def until_free(self) -> None:
        """Return once the next visitor can be answered."""
        async with self._changed:
            await self._changed.wait_for(self._is_free)

    async def drain(self) -> None:
        """Take no further visitor and wait until the last one has left."""
        await self._turn.acquire()
        await self.until_free()

    def answering_ms(self) -> int:
        """Return how long the visitor who is being answered has waited for it; 0 when none is."""
        began_ns = self._answering_since_ns
        return 0 if began_ns is None else (self._clock.monotonic_ns() - began_ns) // 1_000_000

    async def _present(self, scan: Scan, *, is_follower: bool = False) -> Answer:
        answer = await self._answer(scan, is_follower=is_follower)
        self._group = scan if self._rules.lets_follow and answer.decision.followers > 0 else None
        return await self._act_on(answer, scan.captured_ns)

    async def _let_follow(self) -> None:
        """Let in the next of a group whenever one of it has gone through; whoever does not come ends it."""
        while True:
            group = await self._followers.get()
            async with self._turn:
                await self.until_free()
                await self._present(replace(group, captured_ns=self._clock.monotonic_ns()), is_follower=True)

    async def _act_on(self, answer: Answer, captured_ns: int) -> Answer:
        """Show a recorded answer, and open if it says so."""
        self._indicator.show(answer)
        self.tally.count(answer, self._clock.wall_ms())
        if answer.admission_id is not None:
            await self._release(answer.admission_id, captured_ns)
        self._answering_since_ns = None
        return answer

    async def _answer(self, scan: Scan, *, is_follower: bool) -> Answer:
        credential = parse(scan.payload, self._rules.book)
        now_ms = self._clock.wall_ms()
        policy = self._rules.policy
        day_start_ms = policy.day_start_ms(now_ms)
        attempt = Attempt(
            credential,
            self.lane_id,
            now_ms,
            day_start_ms,
            policy.version,
            self._rules.lane,
            scan.persons,
            bool(policy.clearances),
            self._clock.monotonic_ns() // 1_000_000,
            is_follower,
            self._clock.is_sure,
        )
        answer = await self._record(attempt, partial(self._judge, credential, now_ms))
        self._keep(answer, attempt)
        return answer

    def _keep(self, answer: Answer, attempt: Attempt, decided: frozenset[Reason] = frozenset()) -> None:
        """Remember a refusal that staff may answer."""
        reason = answer.decision.reason
        if reason.wording.override is not None:
            at_ns = self._clock.monotonic_ns()
            self._refusals.keep(answer.record, Refused(attempt, reason, at_ns, decided))

    async def _record(self, attempt: Attempt, judge: Callable[[Facts], Decision]) -> Answer:
        began_ns = self._answering_since_ns = self._clock.monotonic_ns()
        try:
            answer = await self._store.answer(attempt, judge)
        except NoRoomError:
            # Nothing is opened that cannot be recorded; the lane goes on as soon as there is room.
            return Answer(Decision(Reason.STORE_FULL), record="")
        except Exception as error:
            # Nothing is opened that cannot be recorded; the process ends and starts again from what is committed.
            self._indicator.show(Answer(Decision(Reason.STORE_BROKEN), record=""))
            self._breakdowns.put_nowait(error)
            raise
        self.tally.note_decision((self._clock.monotonic_ns() - began_ns) / 1e9)
        self._on_recorded()
        return answer

    def _judge_override(self, refused: Refused, act: StaffAct, now_ms: int, facts: Facts) -> Decision:
        if not (self._turnstile.is_ready and passage.may_release(self._state)):
            return Decision(Reason.LANE_NOT_READY)
        credential, policy = refused.attempt.credential, self._rules.policy
        return decide_override(
            refused.reason, credential, facts, policy, act, now_ms, decided=refused.decided
        )

    def _judge(self, credential: Credential | Rejected, now_ms: int, facts: Facts) -> Decision:
        if not (self._turnstile.is_ready and passage.may_release(self._state)):
            return Decision(Reason.LANE_NOT_READY)
        if isinstance(credential, Rejected):
            return refuse(credential, self._rules.lane, now_ms)
        return decide(credential, facts, self._rules.policy, now_ms)

    async def _release(self, admission_id: bytes, captured_ns: int) -> None:
        if not passage.may_release(self._state):
            # The turnstile went while the use was committed. Nobody was let in: the same code goes on with it soon.
            await self._close(admission_id, Outcome.UNKNOWN)
            return
        self._admission_id = admission_id
        await self._take(TurnstileSignal(Signal.RELEASE, admission_id))
        wait_s = self._release_timeout_ms / 1000 + CONTROLLER_GRACE_S
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(
            wait_s, self._timeouts.put_nowait, TurnstileSignal(Signal.TIME_UP, admission_id)
        )
        try:
            await self._turnstile.release(admission_id, self._release_timeout_ms)
        except TurnstileLostError:
            await self._take(TurnstileSignal(Signal.LOST))
            return
        wait_ms = (self._clock.monotonic_ns() - captured_ns) / 1e6
        self.tally.note_wait(wait_ms)
        log.info(
            "released",
            extra={
                "lane": self.lane_id,
                "admission_id": admission_id.hex(),
                "frame_to_release_ms": round(wait_ms, 2),
            },
        )

    async def _fail(self) -> None:
        """Raise what broke the store, whoever asked: an HTTP request alone would swallow it."""
        raise await self._breakdowns.get()

    async def _follow(self, next_signal: Callable[[], Awaitable[TurnstileSignal]]) -> None:
        while True:
            await self._take(await next_signal())

    async def _take(self, report: TurnstileSignal) -> None:
        """Move the state machine and record what the step means."""
        if report.admission_id not in (None, self._admission_id):
            await self._take_late(report)
            return
        step = passage.step(self._state, report.signal)
        self._state = step.state
        admission_id = self._admission_id
        if step.state is State.CLOSED:
            self._admission_id = None
        if step.outcome is not None and admission_id is not None:
            await self._close(admission_id, step.outcome)
            group, self._group = self._group, None
            if group is not None and step.outcome is Outcome.PASSED:
                self._followers.put_nowait(group)
        if step.incident is not None:
            log.warning("incident", extra={"lane": self.lane_id, "what": step.incident.name})
            self.tally.note_incident(step.incident)
            with self._noted_when_full("incident", what=step.incident.name):
                await self._store.record_incident(self.lane_id, step.incident, self._clock.wall_ms())
            self._on_recorded()
        await self._announce()

    async def _take_late(self, report: TurnstileSignal) -> None:
        """Take word of an admission that was closed here before, or that an earlier process had let in."""
        if report.signal is Signal.PASSED and report.admission_id is not None:
            await self._close(report.admission_id, Outcome.PASSED)
        elif self._admission_id is None or self._state is State.LOST:
            await self._take(TurnstileSignal(report.signal))

    async def _close(self, admission_id: bytes, outcome: Outcome) -> None:
        with self._noted_when_full("closing", admission_id=admission_id.hex(), outcome=outcome.name):
            await self._store.close_admission(admission_id, outcome, self._clock.wall_ms())
        self.tally.close(outcome)
        self._on_recorded()

    @contextmanager
    def _noted_when_full(self, what_of: str, **said: str) -> Iterator[None]:
        """Let the lane work on when what happened finds no room: the log has it, and the admission stays open."""
        try:
            yield
        except NoRoomError:
            log.critical("no room to record", extra={"lane": self.lane_id, "record": what_of, **said})

    def _is_free(self) -> bool:
        """Whether the next visitor can be answered; with the turnstile gone the answer sends them to another lane."""
        return passage.may_release(self._state) or (
            self._state is State.LOST and not self._turnstile.is_ready
        )

    async def _announce(self) -> None:
        async with self._changed:
            self._changed.notify_all()
