"""The reader process, from the other side: start it, hand it files, end it when it takes too long.

Reading happens there so that it can be stopped, cannot take this process with it, and does not hold the loop of a server
that runs beside it.
"""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from .readers.worker import Order

_ROOT = str(Path(__file__).resolve().parents[2])
"""Where the package `server` lies, which a process started elsewhere would not find."""

SECONDS = 30.0
"""How long one file may take to read."""


class Unanswered(Exception):
    """The reader process did not answer for a file; the message is the reason, for the file's owner."""


class ReaderProcess:
    """Reads files one after another. Within `async with` there is a process when one is needed; after it there is none."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def read(self, path: Path, fingerprint: str) -> dict[str, Any]:
        """What the file at `path` holds; see `readers.worker.fulfil`. Raises ``Unanswered``."""
        try:
            async with asyncio.timeout(self._seconds):
                process = await self._started()
                assert process.stdin is not None
                assert process.stdout is not None
                # As hex, because a file's name need not be text.
                order = Order(path=os.fsencode(path).hex(), fingerprint=fingerprint)
                process.stdin.write(orjson.dumps(order) + b"\n")
                await process.stdin.drain()
                size = int.from_bytes(await process.stdout.readexactly(8), "big")
                answer: dict[str, Any] = orjson.loads(await process.stdout.readexactly(size))
                return answer
        except TimeoutError:
            await self._end()
            raise Unanswered(f"reading it took more than {self._seconds:g} s") from None
        except (ConnectionError, asyncio.IncompleteReadError):
            status = await self._end()
            raise Unanswered(f"reading it ended the reader (status {status})") from None
        except BaseException:
            # Cancelled half way: what it would still answer belongs to no later file.
            await self._end()
            raise

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            paths = [_ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "server.chat.readers.worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                # Libraries complain of every odd file there; what matters of it is in the answer.
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        return self._process

    async def _end(self) -> int | None:
        """Kill the process if there is one; its status."""
        process, self._process = self._process, None
        if process is None:
            return None
        with suppress(ProcessLookupError):
            process.kill()
        return await process.wait()
