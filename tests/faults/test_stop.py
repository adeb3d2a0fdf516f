"""An orderly stop at the worst moment loses nothing and ends in time, however often it is asked for."""

import contextlib
import signal
import time
from pathlib import Path

import pytest

from tests.faults.load import under_load
from tests.harness import running
from tests.waiting import ENOUGH_SECONDS, until


def test_the_same_harness_sees_what_an_end_without_a_stop_and_a_ring_loses(tmp_path: Path) -> None:
    with running(tmp_path, LOG_LINGER_MS="1000") as server, under_load(server, "/nowhere") as load:
        until(lambda: load.statuses()["/nowhere", 404] > 20)
        server.kill()
        load.stop()
        found = server.events()
    answered = load.statuses()["/nowhere", 404]
    assert sum(event["event"] == "http_request" for event in found) < answered


@pytest.mark.parametrize("signals", [1, 3])
@pytest.mark.parametrize("segment_bytes", ["65536", "67108864"])
def test_a_stop_at_peak_loses_nothing(tmp_path: Path, signals: int, segment_bytes: str) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running(tmp_path, LOG_SEGMENT_BYTES=segment_bytes))
        assert server.process is not None
        loads = [stack.enter_context(under_load(server, "/nowhere")) for _ in range(4)]
        until(lambda: sum(load.statuses()["/nowhere", 404] for load in loads) > 100)
        if signals > 1:  # The stop takes as long as what is in flight.
            stack.enter_context(under_load(server, "/test/faults/slow?seconds=1"))
            server.wait_for("fault_injected")
        for _ in range(signals):
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
        assert server.process.wait(ENOUGH_SECONDS) == 0
        for load in loads:
            load.stop()
        found = server.events()
    answered = sum(load.statuses()["/nowhere", 404] for load in loads)
    assert sum(event["event"] == "http_request" for event in found) >= answered
    assert sorted(event["seq"] for event in found) == list(range(1, len(found) + 1))
    assert found[-1]["event"] == "server_stopped"
