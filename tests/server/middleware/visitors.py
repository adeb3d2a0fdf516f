"""A small application behind the real middlewares, in this process, whose visitors say in a header who they are."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web

from pipeline.heartbeat import LoopLag
from server.accounts.visitor import Tier, Visitor
from server.answers import json_response
from server.connection import Runner
from server.limits.keys import Keys
from server.limits.policy import Work
from server.limits.service import Limits
from server.middleware import Addresses, Callers, Meter, Overload, around, checks, limits, security, started
from server.middleware.security import Network
from server.request import Exchange
from tests.waiting import soon

SECRET = b"a secret of this test"


def who(request: web.Request, served: Exchange) -> None:
    """What a session will say: `X-Visitor: 2 ada` is Ada with tier 2."""
    if told := request.headers.get("X-Visitor"):
        tier, name = told.split()
        served.visitor = Visitor(name, Tier(int(tier)), f"session of {name}", 0)


class Staying:
    """Those who are served until `over` is set, and how many have begun."""

    def __init__(self) -> None:
        self.begun = 0
        self.over = asyncio.Event()


STAYING = web.AppKey("staying", Staying)


async def fine(request: web.Request) -> web.StreamResponse:
    """Answers when the body is there; `X-Do: stay` is answered when those who stay may go, and `X-Do: fail` fails."""
    await request.read()
    what = request.headers.get("X-Do")
    assert what != "fail"
    if what == "stay":
        request.app[STAYING].begun += 1
        await request.app[STAYING].over.wait()
    return json_response({"status": "fine"})


@asynccontextmanager
async def serving(
    counting: Limits,
    trusted: tuple[Network, ...] = (),
    shared: tuple[Network, ...] = (),
    overload: Overload | None = None,
) -> AsyncIterator["Asking"]:
    """An address for each kind of work, such as `/save`, and `/free`, which does none."""
    addresses = Addresses(trusted, SECRET)
    guards = [limits(counting, Callers(Keys(SECRET), shared))]
    if overload is not None:
        guards.insert(0, overload.guard)
    checked = checks(security(addresses, https_only=False), who, guards=guards)
    app = web.Application()
    staying = app[STAYING] = Staying()
    app.on_response_prepare.append(started)
    for work in (*Work, None):
        path = "/free" if work is None else f"/{work}"
        app.router.add_route("*", path, checked(fine, path, work))
    runner = Runner(app, addresses, around(Meter(LoopLag())))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with ClientSession(f"http://{host}:{port}") as session:
            yield Asking(session, (host, port), staying)
    finally:
        await runner.cleanup()


class Asking:
    """Asks that application."""

    def __init__(self, session: ClientSession, address: tuple[str, int], staying: Staying) -> None:
        self._session = session
        self._staying = staying
        self.address = address

    async def __call__(
        self, path: str, visitor: str = "", address: str = "", method: str = "POST", do: str = ""
    ) -> tuple[int, Mapping[str, str]]:
        """The status and the headers of the answer to whoever asks from wherever."""
        headers = {"X-Visitor": visitor, "X-Forwarded-For": address, "X-Do": do}
        sent = {name: value for name, value in headers.items() if value}
        async with self._session.request(method, path, headers=sent) as answer:
            await answer.read()
            return answer.status, answer.headers

    @asynccontextmanager
    async def busy(self, *paths: str, visitor: str = "") -> AsyncIterator[None]:
        """Within the block all these are being served; at its end they are answered."""
        staying = self._staying
        staying.begun = 0
        staying.over.clear()
        asked = [asyncio.create_task(self(path, visitor, do="stay")) for path in paths]
        try:
            await soon(lambda: staying.begun == len(paths))
            yield
        finally:
            staying.over.set()
        assert {status for status, _ in await asyncio.gather(*asked)} == {200}

    async def allowed(self, times: int, path: str, visitor: str = "", address: str = "") -> int:
        """How many of so many are let through."""
        return sum([(await self(path, visitor, address))[0] == 200 for _ in range(times)])
