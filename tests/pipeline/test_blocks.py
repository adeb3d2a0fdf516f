"""Segments as blocks: an archive holds what the segment held, and damage costs one block."""

import gzip
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.blocks import BLOCK, Blocks, compress

LOG = b"".join(b'{"seq":%d,"text":"%s"}\n' % (number, b"x" * (number % 700)) for number in range(900))


def in_blocks(data: bytes) -> list[bytes]:
    return [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]


def archive(path: Path, data: bytes) -> bytes:
    packed = io.BytesIO()
    compress(in_blocks(data), packed)
    path.write_bytes(packed.getvalue())
    return packed.getvalue()


def read(path: Path) -> list[bytes | None]:
    with Blocks(path) as blocks:
        return [blocks.read(number) for number in range(blocks.count)]


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_a_segment_and_its_archive_have_the_same_blocks(tmp_path: Path, size: int) -> None:
    data = (LOG * 2)[:size]
    live, archived = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    live.write_bytes(data)
    archive(archived, data)
    assert read(live) == read(archived) == in_blocks(data)


def test_what_cannot_be_compressed_still_fits_its_member(tmp_path: Path) -> None:
    noise = os.urandom(2 * BLOCK)
    archive(tmp_path / "a.jsonl.gz", noise)
    assert b"".join(block or b"" for block in read(tmp_path / "a.jsonl.gz")) == noise


def test_any_gzip_reads_an_archive(tmp_path: Path) -> None:
    packed = archive(tmp_path / "a.jsonl.gz", LOG)
    assert gzip.decompress(packed) == LOG
    zcat = shutil.which("zcat")
    assert zcat is not None
    assert subprocess.run([zcat, tmp_path / "a.jsonl.gz"], capture_output=True, check=True).stdout == LOG


@given(at=st.integers(0), bit=st.integers(0, 7))
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_costs_at_most_two_blocks_and_never_lies(
    tmp_path_factory: pytest.TempPathFactory, at: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "a.jsonl.gz"
    packed = bytearray(archive(path, LOG))
    packed[at % len(packed)] ^= 1 << bit
    path.write_bytes(packed)
    whole = in_blocks(LOG)
    got = [block for block in read(path) if block is not None]
    assert set(got) <= set(whole)
    assert len(got) >= len(whole) - 2


@given(cut=st.integers(0))
@settings(max_examples=100, deadline=None)
def test_a_cut_archive_gives_what_came_before_the_cut_and_says_that_more_was_there(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.jsonl.gz"
    packed = archive(path, LOG)
    path.write_bytes(packed[: cut % len(packed)])
    got = read(path)
    assert got[-1] is None
    known = [block for block in got if block is not None]
    assert known == in_blocks(LOG)[: len(known)]


@given(junk=st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_bytes_make_it_fail(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "a.jsonl.gz"
    path.write_bytes(junk)
    assert all(block is None for block in read(path))
