"""What is too much is refused at once, before anything is read or counted; what is begun is finished; health goes on."""

import asyncio
import json
import threading
import time
from pathlib import Path

import pytest

from pipeline.heartbeat import LoopLag
from server.limits.memory import MemoryLimiter
from server.limits.policy import Work
from server.limits.service import Limits
from server.middleware.overload import CALM_SECONDS, LAG_BEGINS_MS, LAG_ENDS_MS, RETRY_SECONDS, Overload
from tests.harness import chat_body, exchange, request_bytes, running
from tests.server.middleware.visitors import serving
from tests.waiting import ENOUGH_SECONDS, until

NO_LIMITS = Limits(MemoryLimiter(), enforced=False)
JSON = {"Content-Type": "application/json"}


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """The events since last asked; without a log they go to standard error."""
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [event for event in events if event["event"].startswith("overload")]


async def test_so_many_at_a_time_are_answered_and_the_rest_is_told_when_to_come_back() -> None:
    overload = Overload(LoopLag(), {Work.CHAT: 3})
    async with serving(NO_LIMITS, overload=overload) as ask:
        async with ask.busy("/chat", "/chat", "/chat"):
            answers = await asyncio.gather(*(ask("/chat") for _ in range(57)))
        assert {status for status, _ in answers} == {503}
        pauses = {int(headers["Retry-After"]) for _, headers in answers}
        first, last = RETRY_SECONDS
        assert pauses <= set(range(first, last + 1))
        assert len(pauses) > 2, "they do not all come back in the same second"
        assert (await ask("/chat"))[0] == 200, "and there is room again"


async def test_each_kind_of_work_has_its_own_room_and_what_has_no_bound_goes_on() -> None:
    overload = Overload(LoopLag(), {Work.CHAT: 1, Work.SAVE: 1})
    async with serving(NO_LIMITS, overload=overload) as ask, ask.busy("/chat", "/save"):
        statuses = [(await ask(path))[0] for path in ("/chat", "/save", "/other", "/free")]
    assert statuses == [503, 503, 200, 200]


async def test_who_is_refused_has_used_nothing_up() -> None:
    overload = Overload(LoopLag(), {Work.CHAT: 1})
    async with serving(Limits(MemoryLimiter()), overload=overload) as ask:
        async with ask.busy("/chat", visitor="1 ada"):
            for _ in range(50):
                status, headers = await ask("/chat", "1 bob")
                assert status == 503
                assert "RateLimit-Limit" not in headers
        assert (await ask("/chat", "1 bob"))[1]["RateLimit-Remaining"] == "29"


async def test_who_has_not_sent_the_body_holds_no_place() -> None:
    overload = Overload(LoopLag(), {Work.CHAT: 2})
    async with serving(NO_LIMITS, overload=overload) as ask:
        slow = [await asyncio.open_connection(*ask.address) for _ in range(10)]
        for _, writer in slow:
            writer.write(b"POST /chat HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345")
        await asyncio.sleep(0.3)
        assert [(await ask("/chat"))[0] for _ in range(5)] == [200] * 5
        for _, writer in slow[:2]:
            writer.write(b"67890")
        for reader, _ in slow[:2]:
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for _, writer in slow:
            writer.close()


async def test_a_body_that_is_refused_is_not_waited_for() -> None:
    overload = Overload(LoopLag(), {Work.CHAT: 1})
    async with serving(NO_LIMITS, overload=overload) as ask, ask.busy("/chat"):
        reader, writer = await asyncio.open_connection(*ask.address)
        writer.write(b"POST /chat HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
        writer.close()


async def test_a_handler_that_fails_gives_its_place_back() -> None:
    overload = Overload(LoopLag(), {Work.CHAT: 1})
    async with serving(NO_LIMITS, overload=overload) as ask:
        assert [(await ask("/chat", do="fail"))[0] for _ in range(3)] == [500] * 3
        assert (await ask("/chat"))[0] == 200


async def test_a_loop_that_stays_late_takes_no_questions_until_it_is_well_again() -> None:
    lag = LoopLag()
    async with serving(NO_LIMITS, overload=Overload.of_questions(lag, 64)) as ask:
        between = (LAG_BEGINS_MS + LAG_ENDS_MS) / 2
        for lasting_ms, status in (
            (0, 200),
            (between, 200),
            (LAG_BEGINS_MS + 1, 503),
            (between, 503),
            (LAG_ENDS_MS - 1, 200),
            (between, 200),
        ):
            lag.lasting_ms = lasting_ms
            assert (await ask("/chat"))[0] == status, lasting_ms
            for path in ("/save", "/other", "/free"):
                assert (await ask(path))[0] == 200


async def test_one_pause_of_the_machine_is_no_overload() -> None:
    lag = LoopLag()
    watching = asyncio.create_task(lag.watch())
    await asyncio.sleep(0.35)
    time.sleep(0.6)  # noqa: ASYNC251 - the pause
    async with asyncio.timeout(ENOUGH_SECONDS):
        while lag.take_worst_ms() < LAG_BEGINS_MS:
            await asyncio.sleep(0)
    assert lag.lasting_ms < LAG_BEGINS_MS < lag.last_ms
    watching.cancel()


async def test_an_overload_is_two_events_however_many_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    overload = Overload(LoopLag(), {Work.CHAT: 1}, clock)
    async with serving(NO_LIMITS, overload=overload) as ask, ask.busy("/chat"):
        for _ in range(30):
            await ask("/chat")
            clock.now += 0.1
            overload.look()
        (began,) = told(capsys)
        assert (began["level"], began["work"], began["reason"], began["inflight"]) == (
            "WARNING", "chat", "inflight", 1,
        )  # fmt: skip
        clock.now += CALM_SECONDS
        overload.look()
        overload.look()
        (ended,) = told(capsys)
        assert (ended["event"], ended["shed"], ended["seconds"]) == ("overload_ended", 30, 2.9)
        await ask("/chat")
        assert [event["event"] for event in told(capsys)] == ["overload_began"], "and the next is another"


def test_a_server_whose_loop_is_held_up_sheds_questions_and_answers_probes(tmp_path: Path) -> None:
    ended = threading.Event()
    question = request_bytes("POST", "/api/v1/chat", JSON, chat_body("Is anybody there?"))
    with running(tmp_path) as server:

        def hold_up() -> None:
            while not ended.is_set():
                exchange(server.address, request_bytes("GET", "/test/faults/busy?seconds=0.4"))

        threads = [threading.Thread(target=hold_up) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            # A database that is held up, too, says 503 in other words.
            while b"Very much is being asked" not in (shed := exchange(server.address, question)).raw:
                pass
            assert shed.status == 503
            assert exchange(server.address, request_bytes("GET", "/health/live")).status == 200
            assert exchange(server.address, request_bytes("GET", "/metrics")).status == 200
        finally:
            ended.set()
            for thread in threads:
                thread.join(20)
        body = shed.json()
        assert (body["error"], body["retry_after"]) == (
            "service_unavailable",
            int(shed.headers["retry-after"]),
        )
        (event,) = server.wait_for("http_request", request_id=body["request_id"])
        assert (event["outcome"], event["status"], event["level"]) == ("shed", 503, "INFO")
        (began,) = server.wait_for("overload_began")
        assert began["reason"] == "loop_lag"
        until(lambda: exchange(server.address, question).status == 200, "a question is answered")
        server.wait_for("overload_ended")
