"""Real shippers and the place they ship to.

A `Shipper` runs with the very file from `config/shippers/`, of which only the lines below a `CHANGE` are replaced, in the
foreground and in a folder of its own. A `Target` keeps every line that it is sent.
"""

import re
import signal
import socketserver
import subprocess
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.harness import ROOT, clean_environment, needs
from tests.waiting import until

CONFIGURATIONS = ROOT / "config" / "shippers"
SHIPPED = {"folder": "/srv/chatkit/var/log", "host": "logs.example.com", "port": "5170"}
"""What the marked lines say as they are shipped; each is in the file once, on such a line."""
SECONDS = 30


class Target(socketserver.ThreadingTCPServer):
    """Takes lines over TCP, from one shipper after another, once it listens. What came without a newline is no line."""

    daemon_threads = True
    block_on_close = True

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = 0
        self.lines: Counter[bytes] = Counter()
        self.count = 0
        super().__init__(("127.0.0.1", 0), self._Connection, bind_and_activate=False)
        self.server_bind()
        self._thread: threading.Thread | None = None

    class _Connection(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            target = self.server
            assert isinstance(target, Target)
            target.count_connections(1)
            try:
                for line in self.rfile:
                    if line.endswith(b"\n"):
                        target.take(line)
            except ConnectionError:
                pass  # The shipper was killed.
            finally:
                target.count_connections(-1)

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def take(self, line: bytes) -> None:
        with self._changed:
            self.lines[line] += 1
            self.count += 1
            self._changed.notify_all()

    def count_connections(self, change: int) -> None:
        with self._changed:
            self._open += change
            self._changed.notify_all()

    def wait_for(self, lines: Iterable[bytes]) -> None:
        """Wait until each of `lines` has come, or until it is too late for that; the test then says what is missing."""
        wanted = set(lines)
        with self._changed:
            # The count first: it is cheap, and asked with every line.
            self._changed.wait_for(
                lambda: len(self.lines) >= len(wanted) and wanted <= self.lines.keys(), SECONDS
            )

    def wait_for_count(self, count: int) -> None:
        """Wait until `count` lines have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, SECONDS), self.count

    def wait_for_silence(self) -> None:
        """Wait until nobody is connected: what the last shipper sent has been read to its end."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._open, SECONDS)

    def listen(self) -> None:
        """Until now connections were refused."""
        self.server_activate()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()


class Shipper(ABC):
    """A log shipper that reads the segments in `log_dir` and sends them to `target`."""

    command: str
    configuration: Path
    main: str
    """The rest of its configuration: as little as lets it run, with what it says of itself in a file."""
    refused: tuple[str, str]
    """Which of its files says what when it has something to send and the target is away."""
    libraries = ""
    """The folder that has libraries of its own."""

    def __init__(self, folder: Path, log_dir: Path, target: Target) -> None:
        self.folder = folder
        (folder / "state").mkdir(parents=True)
        values = {"folder": str(log_dir), "host": "127.0.0.1", "port": str(target.port)}
        (folder / "chatkit.conf").write_text(changed(self.configuration.read_text(), values))
        (folder / "main.conf").write_text(self.main.format(folder=folder))
        self._target = target
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def arguments(self, prefix: Path) -> list[str]:
        """Its options; `prefix` is the root that its package's files are in."""

    def start(self) -> None:
        program = Path(needs(self.command)).resolve()
        prefix = program.parents[2]
        with (self.folder / "stderr.txt").open("ab") as stderr:
            self._process = subprocess.Popen(
                [program, *self.arguments(prefix)],
                cwd=self.folder,
                env=clean_environment(LD_LIBRARY_PATH=str(prefix / self.libraries)),
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )

    def wait_for_words(self, pattern: str, words: str) -> None:
        """Wait until one of its files says `words`."""
        until(lambda: any(words in file.read_text("latin-1") for file in self.folder.glob(pattern)), words)

    def reload(self) -> None:
        """Look at configuration and folder anew, as soon as it can be told to: before that, SIGHUP would end it."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status")
        until(
            lambda: int(re.findall(r"SigCgt:\s*(\w+)", status.read_text())[0], 16) & 1 << signal.SIGHUP - 1,
            "it takes SIGHUP for a request",
        )
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """An orderly stop; afterwards all that it sent has arrived."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(SECONDS)
        self._target.wait_for_silence()

    def kill(self) -> None:
        """`kill -9`; the same."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(SECONDS)
        self._target.wait_for_silence()


class Rsyslog(Shipper):
    command = "rsyslogd"
    configuration = CONFIGURATIONS / "rsyslog.conf"
    refused = ("state/imfile-state:*", "curr_offs")
    main = """
global(workDirectory="{folder}/state" processInternalMessages="on")
include(file="{folder}/chatkit.conf")
action(type="omfile" file="{folder}/said.log")
"""

    def arguments(self, prefix: Path) -> list[str]:
        modules = next(prefix.glob("usr/lib/*/rsyslog"))
        state = self.folder / "state"
        return ["-n", "-f", f"{self.folder}/main.conf", "-i", f"{state}/pid", "-M", str(modules)]


class SyslogNg(Shipper):
    command = "syslog-ng"
    configuration = CONFIGURATIONS / "syslog-ng.conf"
    refused = ("said.log", "Connection refused")
    main = """@version: current
@include "{folder}/chatkit.conf"
source s_itself {{ internal(); }};
destination d_itself {{ file("{folder}/said.log"); }};
log {{ source(s_itself); destination(d_itself); }};
"""
    libraries = "usr/lib/syslog-ng"

    def arguments(self, prefix: Path) -> list[str]:
        modules = next(prefix.glob("usr/lib/syslog-ng/*.*/"))
        files = {"-f": "main.conf", "-R": "state/persist", "-c": "state/control", "-p": "state/pid"}
        placed = [text for flag, name in files.items() for text in (flag, str(self.folder / name))]
        return ["-F", "--no-caps", f"--module-path={modules}", *placed]


def changed(configuration: str, values: dict[str, str]) -> str:
    """`configuration` with what the lines below a CHANGE say replaced by `values`; no other line may say it."""
    blocks = re.split(r"(# CHANGE:.*\n(?:.*\S.*\n){1,2})", configuration)
    for name, value in values.items():
        places = [index for index, block in enumerate(blocks) if SHIPPED[name] in block]
        assert len(places) == 1, name
        assert places[0] % 2, f"{name} is not on a line below a CHANGE"
        blocks[places[0]] = blocks[places[0]].replace(SHIPPED[name], value)
    return "".join(blocks)


def whole_lines(log_dir: Path) -> Counter[bytes]:
    """Every line that ends, of every segment."""
    found: Counter[bytes] = Counter()
    for segment in log_dir.glob("events-*.jsonl"):
        found.update(line for line in segment.read_bytes().splitlines(keepends=True) if line.endswith(b"\n"))
    return found
