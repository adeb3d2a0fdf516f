"""A start with a gigabyte of old log is ready as soon as any other, also after a kill: next to nothing of it is read."""

import subprocess
import sys
from pathlib import Path

from tests.faults.ledger import times
from tests.harness import ROOT, ServerProcess, exchange, request_bytes
from tests.oldlog import write_old_log


def bytes_read(server: ServerProcess) -> int:
    """What the process has read so far, from the page cache too; see proc(5)."""
    assert server.process is not None
    return _read(Path(f"/proc/{server.process.pid}/io").read_text())


def _read(told: str) -> int:
    return int(dict(line.split(": ") for line in told.split("\n") if line)["rchar"])


def bytes_of_a_start_after_a_kill(folder: Path) -> int:
    """What a start reads until it is ready, when its predecessor was killed."""
    first = ServerProcess(folder).start()
    for number in range(50):
        request = request_bytes("GET", "/nowhere", {"X-Request-ID": f"before-{number}"})
        assert exchange(first.address, request).status == 404
    first.kill()
    server = ServerProcess(folder).start()
    try:
        read = bytes_read(server)
        assert exchange(server.address, request_bytes("GET", "/health/ready")).status == 200
        asked = {event["request_id"] for event in server.events("http_request")}
        assert {f"before-{number}" for number in range(50)} <= asked
        return read
    finally:
        server.kill()


def test_next_to_nothing_of_an_old_log_is_read_at_a_start(tmp_path: Path) -> None:
    size = times(100_000_000, 1_000_000_000)
    write_old_log(tmp_path / "old" / "var" / "log", size)
    without = bytes_of_a_start_after_a_kill(tmp_path / "new")
    assert bytes_of_a_start_after_a_kill(tmp_path / "old") - without < size / 20


def test_who_reads_all_of_it_is_seen_to(tmp_path: Path) -> None:
    size = 20_000_000
    write_old_log(tmp_path, size)
    reads = f"sum(len(line.raw) for line in lines(Path({str(tmp_path)!r})))"
    code = f"from pathlib import Path; from pipeline.reading.reader import lines; {reads}; print(Path('/proc/self/io').read_text())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert _read(done.stdout) > size / 2
