"""A console block, executed: each command as the reader would type it, each output as the reader would see it.

    $ curl -s http://localhost:8000/health/live        a command; a backslash at its end continues it
    {"status":"ok"}                                    what it prints; `...` stands for anything

`...` within a line is any text, alone on a line any number of lines. All commands of a block share one shell, so a
variable set by one is known to the next. The shell has a terminal, because the reader has one. A command that fails
fails the block; where failing is the point, the block says so (`...; echo "exit $?"`).
"""

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

WRITTEN = "http://localhost:8000"
"""The server's address as the documents have it."""

SECONDS = 60
_END = "\x1e"  # the shell prints it, with the status, behind each command
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]")


class Step(NamedTuple):
    """One command and what it is said to print."""

    command: str
    expected: list[str]


class Stale(AssertionError):
    """The document says one thing and the program does another."""


def steps(text: str) -> list[Step]:
    """The commands of a block. Raises ``Stale`` when it does not begin with one."""
    found: list[Step] = []
    continued = False
    for line in text.splitlines():
        if continued:
            last = found[-1]
            found[-1] = last._replace(command=f"{last.command}\n{line}")
        elif line.startswith("$ "):
            found.append(Step(line[2:], []))
        elif found:
            found[-1].expected.append(line)
        else:
            raise Stale(f"a console block begins with `$ `, not with {line!r}")
        continued = (continued or line.startswith("$ ")) and line.endswith("\\")
    return found


def check(
    text: str, folder: Path, environment: Mapping[str, str], *, address: str = WRITTEN, prelude: str = ""
) -> None:
    """Execute a block in `folder` and compare. Raises ``Stale`` that shows what was expected and what came.

    The server is at `address`, whatever the documents say.
    """
    planned = steps(text)
    lines = [prelude]
    for step in planned:
        lines += [step.command.replace(WRITTEN, address), f"printf '{_END}%s\\n' $?"]
    printed = _in_a_terminal("\n".join(lines) + "\n", folder, environment).replace(address, WRITTEN)
    results = re.split(rf"{_END}(\d+)\n", printed)
    for index, step in enumerate(planned):
        if 2 * index + 1 >= len(results):
            raise Stale(f"$ {step.command}\ndid not end. What came:\n{results[-1]}")
        output, status = results[2 * index], results[2 * index + 1]
        said = "\n".join(step.expected)
        if status != "0":
            raise Stale(f"$ {step.command}\nended with {status} and printed:\n{output}")
        if not matches(said, output):
            raise Stale(f"$ {step.command}\nis said to print:\n{said}\nand printed:\n{output}")


def matches(expected: str, output: str) -> bool:
    """Whether `output` is what `expected` says; white space at the end of a line or of all does not matter."""
    pattern = ""
    for line in expected.rstrip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*?".join(map(re.escape, line.rstrip().split("..."))) + r"\n"
    came = "".join(f"{line.rstrip()}\n" for line in output.rstrip().splitlines())
    return re.fullmatch(pattern, came) is not None


def _in_a_terminal(script: str, folder: Path, environment: Mapping[str, str]) -> str:
    """What bash shows on a terminal while it runs `script`, without colours."""
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        # Nobody would turn the pages of a pager.
        env=dict(environment) | {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1", "PAGER": "cat"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = bytearray()
    deadline = time.monotonic() + SECONDS
    try:
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([ours], [], [], left)[0]:
                break
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # EIO: the last one with the terminal open has gone.
                break
            shown += chunk
    finally:
        if shell.poll() is None and time.monotonic() >= deadline:
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        os.close(ours)
    return _ESCAPES.sub("", shown.decode("utf-8", "backslashreplace")).replace("\r\n", "\n")
