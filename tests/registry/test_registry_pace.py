"""How much is under way at one registry at once, with a clock that a test moves."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import artifacts
import pytest
from scripted import Handler, scripted_registry

from buildopt.oci.layout import open_artifact, resolve
from buildopt.oci.reference import Reference
from buildopt.registry import pace, retry
from buildopt.registry.credentials import Keychain
from buildopt.registry.failure import RegistryError
from buildopt.registry.pace import FOREVER, Bound, Pace
from buildopt.registry.plan import PushPlan, Target
from buildopt.registry.push import push
from buildopt.registry.retry import ATTEMPTS, Stopped
from buildopt.registry.trust import Trust


def limited(seconds: float | None = None) -> RegistryError:
    return RegistryError("rate-limit", "enough", transient=True, retry_after=seconds, status=429)


def reset() -> RegistryError:
    return RegistryError("unreachable", "connection reset", transient=True)


def ended(bound: Bound, error: BaseException | None, now: float = 0.0) -> None:
    bound.end(bound.begin(), error, now)


def test_what_goes_well_leaves_the_bound_where_it_is() -> None:
    bound = Bound(6)
    for _ in range(50):
        ended(bound, None)
    assert (bound.limit, bound.busy) == (6, 0)


@pytest.mark.parametrize(
    "error",
    [
        limited(),
        reset(),
        RegistryError("timeout", "silence", transient=True),
        RegistryError("server", "busy", transient=True, status=503),
        RegistryError("rate-limit", "a secondary limit", status=403),
    ],
    ids=lambda error: f"{error.kind} {error.status}",
)
def test_a_registry_that_had_enough_gets_half(error: RegistryError) -> None:
    bound = Bound(6)
    limits = []
    for _ in range(5):
        ended(bound, error)
        limits.append(bound.limit)
    assert limits == [3, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "error",
    [
        RegistryError("not-found", "no such repository", status=404),
        RegistryError("permission", "not yours", status=403),
        RegistryError("server", "the session is gone", transient=True, status=416),
        RegistryError("digest", "other bytes", transient=True, status=400),
        Stopped(),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_other_failures_have_nothing_to_do_with_pace(error: BaseException) -> None:
    bound = Bound(6)
    ended(bound, error)
    assert (bound.limit, bound.busy, bound.pause(0.0)) == (6, 0, 0.0)


def test_what_was_under_way_together_halves_the_bound_once() -> None:
    bound = Bound(8)
    together = [bound.begin() for _ in range(8)]
    for begun in together:
        bound.end(begun, limited(), 0.0)
    assert bound.limit == 4
    later = bound.begin()
    bound.end(later, limited(), 0.0)
    assert bound.limit == 2


def test_after_a_reset_the_bound_rises_by_one_for_as_many_successes_as_it_is() -> None:
    bound = Bound(6)
    ended(bound, reset())
    rises = []
    for number in range(1, 40):
        before = bound.limit
        ended(bound, None)
        if bound.limit > before:
            rises.append((number, bound.limit))
    assert [limit for _, limit in rises] == [4, 5, 6]
    assert 3 <= rises[0][0] <= 4
    assert 12 <= rises[2][0] <= 16


def test_after_a_limit_it_rises_slowly() -> None:
    bound = Bound(6)
    ended(bound, limited())
    for _ in range(24):
        ended(bound, None)
    assert bound.limit == 3
    for _ in range(200):
        ended(bound, None)
    assert bound.limit == 6


def test_nothing_begins_before_the_registry_said() -> None:
    bound = Bound(4)
    ended(bound, limited(2.0), now=100.0)
    ended(bound, limited(0.5), now=100.5)  # a shorter wait does not take back the longer one
    assert bound.pause(100.5) == pytest.approx(1.5)
    assert bound.pause(101.9) == pytest.approx(0.1)
    assert bound.pause(102.0) == 0.0


def test_where_it_does_not_say_there_is_a_short_rest() -> None:
    bound = Bound(4)
    ended(bound, limited(), now=100.0)
    assert 0 < bound.pause(100.0) <= 1
    ended(bound, reset(), now=200.0)
    assert bound.pause(200.0) == 0.0


def test_who_asks_for_hours_holds_nobody() -> None:
    bound = Bound(4)
    ended(bound, limited(21_600.0), now=100.0)
    assert bound.pause(100.0) == 0.0


def test_no_more_begin_than_the_bound_allows() -> None:
    bound = Bound(2)
    first = bound.begin()
    assert bound.pause(0.0) == 0.0
    bound.begin()
    assert bound.pause(0.0) == FOREVER
    bound.end(first, None, 0.0)
    assert bound.pause(0.0) == 0.0


def within(turns: Pace, stop: threading.Event, work: Callable[[], None]) -> threading.Thread:
    def run() -> None:
        with turns.turn(stop):
            work()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def test_threads_wait_for_their_turns() -> None:
    turns, stop, lock = Pace(3), threading.Event(), threading.Lock()
    now, most, done = 0, 0, 0

    def work() -> None:
        nonlocal now, most, done
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
            done += 1

    for thread in [within(turns, stop, work) for _ in range(24)]:
        thread.join(10)
    assert (most, done) == (3, 24)


def test_a_turn_within_a_turn_is_a_part_of_it() -> None:
    turns, stop = Pace(1), threading.Event()
    with turns.turn(stop), turns.turn(stop):
        assert turns.limit == 1
    with pytest.raises(RegistryError), turns.turn(stop), turns.turn(stop):
        raise limited()
    with turns.turn(stop):  # it was given back, once
        pass


def test_an_error_goes_through_and_halves() -> None:
    turns, stop = Pace(6), threading.Event()
    with pytest.raises(RegistryError, match="connection reset"), turns.turn(stop):
        raise reset()
    assert turns.limit == 3


def test_who_waits_is_stopped() -> None:
    clock = [0.0]
    turns, stop = Pace(4, lambda: clock[0]), threading.Event()
    with pytest.raises(RegistryError), turns.turn(stop):
        raise limited(60.0)
    ended: list[str] = []

    def wait() -> None:
        try:
            with turns.turn(stop):
                ended.append("began")
        except Stopped:
            ended.append("stopped")

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    time.sleep(0.05)
    assert ended == []
    stop.set()
    thread.join(5)
    assert ended == ["stopped"]


def test_a_wait_ends_when_the_clock_says_so() -> None:
    clock = [0.0]
    turns, stop, began = Pace(4, lambda: clock[0]), threading.Event(), threading.Event()
    with pytest.raises(RegistryError), turns.turn(stop):
        raise limited(60.0)
    thread = within(turns, stop, began.set)
    assert not began.wait(0.3)
    clock[0] = 60.0
    assert began.wait(5)
    thread.join(5)


class Simulation:
    """A registry that allows so many requests a second, and ``jobs`` workers that have ``count`` of them to make.

    Each takes 35 to 65 ms; one too many is answered by 429, with or without Retry-After, and made again as pushes do.
    """

    def __init__(self, seed: int, rate: float, jobs: int, retry_after: float | None, *, adapts: bool) -> None:
        self.chance = random.Random(seed)
        self.rate, self.allowance, self.counted = rate, rate, 0.0
        self.retry_after = retry_after
        self.bound = Bound(jobs)
        self.adapts = adapts
        self.events: list[tuple[float, int, Callable[[float], None]]] = []
        self.numbers = itertools.count()
        self.line: list[int] = []
        self.left = 0
        self.refused = self.failed = 0
        self.seconds = 0.0

    def run(self, count: int) -> Simulation:
        workers = self.bound.most
        self.left = count - workers
        self.line = [1] * workers
        self.begin(0.0)
        while self.events:
            now, _, act = heapq.heappop(self.events)
            act(now)
            self.begin(now)
        assert (self.left, self.line, self.bound.busy) == (0, [], 0)
        return self

    def at(self, when: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self.events, (when, next(self.numbers), act))

    def begin(self, now: float) -> None:
        while self.line:
            pause = self.bound.pause(now) if self.adapts else 0.0
            if pause > 0:
                if pause < FOREVER:
                    self.at(now + pause, lambda now: None)
                return
            attempt, begun = self.line.pop(0), self.bound.begin()
            self.allowance = min(self.rate, self.allowance + (now - self.counted) * self.rate)
            self.counted = now
            welcome = self.allowance >= 1
            self.allowance -= welcome
            self.at(now + self.chance.uniform(0.035, 0.065), self.ending(attempt, begun, welcome))

    def ending(self, attempt: int, begun: int, welcome: bool) -> Callable[[float], None]:
        def act(now: float) -> None:
            self.bound.end(begun, None if welcome else limited(self.retry_after), now)
            if not welcome:
                self.refused += 1
                if attempt < ATTEMPTS:
                    pause = self.retry_after or 0.5 * 2 ** (attempt - 1) * self.chance.uniform(0.75, 1.25)
                    self.at(now + pause, lambda now: self.line.append(attempt + 1))
                    return
                self.failed += 1
            self.seconds = now
            if self.left:
                self.left -= 1
                self.line.append(1)

        return act


@pytest.mark.parametrize("retry_after", [1.0, None], ids=["told how long", "not told"])
@pytest.mark.parametrize(("rate", "jobs", "count"), [(20, 6, 400), (10, 6, 200), (50, 16, 1000)])
def test_a_registry_that_allows_so_many_a_second_refuses_fewer(
    rate: float, jobs: int, count: int, retry_after: float | None
) -> None:
    for seed in range(5):
        fixed = Simulation(seed, rate, jobs, retry_after, adapts=False).run(count)
        adapts = Simulation(seed, rate, jobs, retry_after, adapts=True).run(count)
        assert fixed.refused > 20  # there was something to save
        assert adapts.refused < fixed.refused / 2
        assert adapts.failed <= fixed.failed
        assert adapts.seconds < fixed.seconds * 1.15


def test_a_registry_with_room_is_used_to_the_full() -> None:
    fixed = Simulation(1, 1000.0, 6, None, adapts=False).run(300)
    adapts = Simulation(1, 1000.0, 6, None, adapts=True).run(300)
    assert (adapts.refused, adapts.seconds) == (0, fixed.seconds)


def pushed(folder: Path, most: int) -> tuple[str, int]:
    """A push to a registry that answers so many requests at once and refuses the others: its problem, and how often."""
    under_way = refused = 0
    lock = threading.Lock()

    def fault(handler: Handler) -> bool:
        nonlocal under_way, refused
        if handler.path == "/v2/":
            return False
        with lock:
            under_way += 1
            one_too_many = under_way > most
            refused += one_too_many
        try:
            time.sleep(0.005)
            return handler.error(429, "TOOMANYREQUESTS", "enough") if one_too_many else handler.registry()
        finally:
            with lock:
                under_way -= 1

    with scripted_registry() as registry:
        registry.fault = fault
        source = open_artifact(folder)
        plan = PushPlan(source, resolve(source), (Target(Reference.parse(f"{registry.host}/acme/app:1")),))
        (outcome,) = push(plan, Keychain(), Trust({"SSL_CERT_DIR": str(folder)}, folders=())).outcomes
    return outcome.problem.kind if outcome.problem is not None else "", refused


def test_a_push_gives_way_to_a_registry_that_limits_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.02)
    monkeypatch.setattr(pace, "UNTOLD_SECONDS", 0.02)
    image = artifacts.put_image(tmp_path, "linux/amd64", [f"layer {number}".encode() for number in range(60)])
    artifacts.finish(tmp_path, [image])
    problem, refused = pushed(tmp_path, 3)
    assert problem == ""

    def unmoved(bound: Bound, begun: int, error: BaseException | None, now: float) -> None:
        bound.busy -= 1

    monkeypatch.setattr(Bound, "end", unmoved)
    assert refused < pushed(tmp_path, 3)[1] / 2
