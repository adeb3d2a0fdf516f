"""The figures file under a killed process, a torn write, a damaged byte and a full disk."""

import errno
import random
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.catalogue import Observation
from pipeline.figures import file as figures
from pipeline.figures.file import CELLS, ERRORS, SIZE, Page, Reading, Slice, others
from pipeline.figures.own_file import FiguresFile
from pipeline.figures.windows import Totals, Windows
from tests.waiting import ENOUGH_SECONDS, until


def observation(number: int) -> Observation:
    return Observation(f"/{number % 5}", float(number % 50), number % 7 == 0, limited=False)


def reading(content: bytes | bytearray) -> Reading:
    return Reading(lambda offset, length: bytes(content[offset : offset + length]).ljust(length, b"\0"))


def moments(file: FiguresFile, work: Callable[[], None]) -> list[bytes]:
    """What a process that is killed during `work` can leave of the pages: after each instruction, and within each copy.

    An aligned word is written whole; of what is longer, any number of words may have been.
    """
    states = [file._memory[: figures.SLICES_AT]]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        frame.f_trace_opcodes = True
        now = file._memory[: figures.SLICES_AT]
        if now != states[-1]:
            states.append(now)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    states.append(file._memory[: figures.SLICES_AT])
    found = []
    for old, new in pairwise(states):
        differing = [at for at in range(0, len(old), 8) if old[at : at + 8] != new[at : at + 8]]
        found += [new[:cut] + old[cut:] for cut in differing] + [new]
    return found


def pages_of_a_killed_commit() -> tuple[Page | None, Page | None, list[Page | None]]:
    windows = Windows()
    for number in range(1, 40):
        windows.observe(observation(number))
    windows.commit(39)
    before = windows._file.page()
    for number in range(40, 90):
        windows.observe(observation(number))
    windows.observe(Observation("/new", 1.0, error=True, limited=False))
    found = [reading(state).page() for state in moments(windows._file, partial(windows.commit, 90))]
    return before, windows._file.page(), found


def test_who_is_killed_at_any_moment_of_a_commit_leaves_the_page_before_or_the_page_after() -> None:
    before, after, found = pages_of_a_killed_commit()
    assert before is not None
    assert after is not None
    assert (before.counted, after.counted) == (39, 90)
    assert len(found) > 100
    assert all(page in (before, after) for page in found)
    assert before in found


def test_a_commit_in_place_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control of the test above."""
    monkeypatch.setattr(FiguresFile, "_place", staticmethod(lambda _: 1))
    before, after, found = pages_of_a_killed_commit()
    assert not all(page in (before, after) for page in found)


def run_until_killed(folder: Path, how: str, seconds: float) -> int:
    """The last number that a counting process said was committed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.pipeline.figures.counting", folder, how], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    asked = time.monotonic()
    while time.monotonic() < asked + seconds:
        with others(folder / "nobody") as found:
            pages = [one.page() for one in found]
            for page in pages:
                assert page is not None
                assert how != "whole" or right(page)
    process.kill()
    with process.stdout:
        last = max(map(int, process.stdout.read().split()), default=0)
    assert process.wait(ENOUGH_SECONDS) == -signal.SIGKILL
    return last


def right(page: Page) -> bool:
    """Whether the totals are those of the events up to the number that stands with them."""
    count = sum(sum(totals[:ERRORS]) for totals in page.totals.values())
    errors = sum(totals[ERRORS] for totals in page.totals.values())
    return (count, errors) == (page.counted, page.counted // 7)


def test_after_each_of_twenty_kills_every_event_is_counted_once(tmp_path: Path) -> None:
    rng = random.Random(11)
    for _ in range(20):
        said = run_until_killed(tmp_path, "whole", rng.uniform(0.0, 0.03))
        windows = Windows(tmp_path / "worker-1.windows")
        assert windows.damaged is None
        assert windows.counted >= said
        assert windows.totals()[:2] == (windows.counted, windows.counted // 7)


def test_totals_and_their_number_committed_apart_would_be_found_out(tmp_path: Path) -> None:
    """The positive control of the test above: one kill in five falls between the two, so it goes on until one has."""

    def wrong() -> bool:
        run_until_killed(tmp_path, "apart", 0.01)
        windows = Windows(tmp_path / "worker-1.windows")
        return windows.totals().requests != windows.counted

    assert until(wrong, "a kill between the two")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Totals]]:
    """A file, and the totals of its last two commits."""
    path, clock = tmp_path_factory.mktemp("written") / "worker-1.windows", Clock()
    windows = Windows(path, clock, boot="one")
    states = []
    for number in range(1, 400):
        windows.observe(observation(number))
        windows.commit(number)
        states.append(windows.totals())
        clock.now += 0.1
    windows.close()
    return path, states[-2:]


PLACES = st.one_of(
    st.integers(0, 1_023),
    st.integers(figures.PAGES_AT, figures.SLICES_AT + 1_024),
    st.integers(figures.CELLS_AT, figures.CELLS_AT + 8_192),
    st.integers(0, SIZE - 1),
)


@settings(max_examples=100, deadline=None)
@given(flips=st.dictionaries(PLACES, st.integers(1, 255), max_size=6), cut=st.none() | PLACES)
def test_whatever_befalls_the_bytes_nothing_is_raised_and_nothing_is_told_that_was_not_committed(
    written: tuple[Path, list[Totals]], flips: dict[int, int], cut: int | None
) -> None:
    content, committed, nothing = bytearray(written[0].read_bytes()), written[1], Totals(0, 0, 0, 0.0)
    for place, bits in flips.items():
        content[place] ^= bits
    with tempfile.TemporaryDirectory() as folder:
        damaged = Path(folder) / "worker-1.windows"
        damaged.write_bytes(content[:cut])
        clock = Clock()
        clock.now = 1_050.0
        beside = Windows(Path(folder) / "worker-2.windows", clock, boot="one")
        assert beside.totals() in [nothing, *committed]
        owner = Windows(damaged, clock, boot="one")
        assert owner.totals() in ([nothing] if owner.damaged else committed)
        for windows in (beside, owner):
            windows.published()
            for seconds in (0.0, 1.0, 1_000.0):
                clock.now += seconds
                windows.observe(observation(1))
                windows.summaries()
                windows.by_route()
                windows.histograms()
            windows.close()


def test_without_the_checksum_a_flipped_bit_would_be_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The positive control of the test above."""
    monkeypatch.setattr(zlib, "crc32", lambda *_: 0)
    windows = Windows()
    windows.observe(observation(1))
    windows.commit()
    content = bytearray(windows._file._memory)
    committed = reading(content).page()
    assert committed is not None
    content[figures.PAGES_AT + committed.sequence % 2 * figures.PAGE_BYTES + figures.ROWS_AT + 5] ^= 1
    assert reading(content).page() not in (None, committed)


def test_what_cannot_be_read_is_set_aside_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.windows"
    for content in (b"", b"nothing of ours", bytes(SIZE)):
        path.write_bytes(content)
        windows = Windows(path)
        assert windows.damaged == tmp_path / "worker-1.windows.damaged"
        assert windows.damaged.read_bytes() == content
        windows.observe(observation(1))
        windows.close()
        assert Windows(path).totals().requests == 1
        assert len(list(tmp_path.iterdir())) == 2
        path.unlink()


def test_files_of_others_may_come_go_and_be_damaged(tmp_path: Path) -> None:
    windows = Windows(tmp_path / "worker-1.windows")
    (tmp_path / "worker-2.windows").write_bytes(b"short")
    (tmp_path / "worker-3.windows").mkdir()
    (tmp_path / "worker-4.windows").symlink_to("nowhere")
    windows.observe(observation(1))
    assert windows.totals().requests == 1
    assert windows.summaries()[1].requests == 1


def test_a_slice_may_wrap_around_the_end_of_the_cells() -> None:
    file = FiguresFile(None, "one")
    kept = [file.append(second, CELLS - 30 + 20 * second, [second] * 20) for second in range(4)]
    assert file.slices() == kept == [Slice(n, CELLS - 30 + 20 * n, CELLS - 10 + 20 * n) for n in range(4)]
    assert [file.cells(slice_).tolist() for slice_ in kept] == [[n] * 20 for n in range(4)]


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for one figures file and little else."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


FILL_AND_COUNT = """
import os, sys
from pathlib import Path
from pipeline.figures import file as figures
from pipeline.figures.windows import Windows
if sys.argv[2] == "sparse":
    os.posix_fallocate = lambda descriptor, offset, length: os.truncate(descriptor, length)
path = Path(sys.argv[1])
windows = Windows(path / "worker-1.windows")
assert windows.failure is None
try:
    with open(path / "fill", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
except OSError:
    pass
memory = windows._file._memory
for place in range(figures.SLICES_AT, figures.SIZE, 4096):
    memory[place] = 1
"""


@pytest.mark.parametrize(("how", "ends"), [("reserved", 0), ("sparse", -signal.SIGBUS)])
def test_a_full_disk_does_not_fault_who_counts_because_all_space_was_taken_at_first(
    full_disk: Path, how: str, ends: int
) -> None:
    """`sparse` is the positive control."""
    done = subprocess.run([sys.executable, "-c", FILL_AND_COUNT, full_disk, how], check=False)
    assert done.returncode == ends


def test_without_room_for_a_file_figures_are_kept_in_memory_and_the_reason_is_told(full_disk: Path) -> None:
    first = Windows(full_disk / "worker-1.windows")
    second = Windows(full_disk / "worker-2.windows")
    assert first.failure is None
    assert second.failure is not None
    assert second.failure.errno == errno.ENOSPC
    second.observe(observation(1))
    assert second.totals().requests == 1
    assert [path.name for path in full_disk.iterdir()] == ["worker-1.windows"]
