"""A way between two programs that can be closed or go dead, as a network does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """Passes bytes from `port` on to another one, until it is told otherwise."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def stall(self) -> None:
        """Pass nothing on, and close nothing."""
        self._flows.clear()

    def flow(self) -> None:
        """Go on, with what was held back."""
        self._flows.set()

    def lose(self) -> None:
        """Never again pass anything on for those who are connected, who are not told; others may come."""
        self._flows.clear()
        self._flows = asyncio.Event()
        self._flows.set()

    def cut(self) -> None:
        """Close every connection at once."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        flows = self._flows
        try:
            await flows.wait()
            there, onwards = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(onwards)
            await asyncio.gather(self._pass(reader, onwards, flows), self._pass(there, writer, flows))
        except OSError:
            pass
        finally:
            writer.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event
    ) -> None:
        while chunk := await reader.read(65536):
            await flows.wait()
            writer.write(chunk)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def proxying(target: int) -> AsyncIterator[Proxy]:
    """A proxy to `target`, a port of this machine, within the block."""
    proxy = Proxy(target)
    tasks: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(proxy.serve(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.flow()
        proxy.cut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
