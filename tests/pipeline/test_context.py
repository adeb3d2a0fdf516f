"""An event carries the request it belongs to, wherever it is written."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

from pipeline.context import ContextExecutor, Request, bound, carry, current, measure, note


def here() -> str | None:
    request = current()
    return None if request is None else request.request_id


async def test_tasks_threads_and_executors_started_by_a_request_carry_its_id() -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ContextExecutor())
    seen: dict[str, str | None] = {}

    async def task() -> None:
        await asyncio.sleep(0)
        seen["task"] = here()

    def record(where: str) -> None:
        seen[where] = here()

    with bound(Request("mine")):
        await asyncio.create_task(task())
        seen["to_thread"] = await asyncio.to_thread(here)
        seen["run_in_executor"] = await loop.run_in_executor(None, here)
        thread = Thread(target=carry(record), args=("thread",))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            seen["own executor"] = pool.submit(carry(here)).result()
        loop.call_soon(record, "call_soon")
        await asyncio.sleep(0.01)
    assert set(seen.values()) == {"mine"}
    assert len(seen) == 6
    assert here() is None


async def test_the_executor_of_asyncio_alone_would_lose_it() -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    with bound(Request("mine")):
        assert await asyncio.get_running_loop().run_in_executor(None, here) is None


async def test_a_pools_thread_does_not_keep_the_request_that_started_it() -> None:
    with ContextExecutor(max_workers=1) as pool:
        with bound(Request("first")):
            assert pool.submit(here).result() == "first"
        with bound(Request("second")):
            assert pool.submit(here).result() == "second"
        assert pool.submit(here).result() is None


async def test_two_requests_at_once_do_not_see_each_other() -> None:
    async def serve(name: str) -> list[str | None]:
        with bound(Request(name)):
            seen = []
            for _ in range(20):
                await asyncio.sleep(0)
                seen.append(here())
            return seen

    for name, seen in zip("abc", await asyncio.gather(*map(serve, "abc")), strict=True):
        assert seen == [name] * 20


def test_a_carried_function_may_run_in_several_threads_at_once() -> None:
    with bound(Request("mine")):
        work = carry(here)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: work(), range(200))) == {"mine"}


def test_notes_are_set_and_measures_add_up() -> None:
    note(ignored=1)
    measure(ignored=1)
    with bound(Request("mine")) as request:
        note(model="m", db_ms=0)
        measure(db_ms=1.5, db_calls=1)
        measure(db_ms=2.0, db_calls=1)
    assert request.canonical == {"model": "m", "db_ms": 3.5, "db_calls": 2}
