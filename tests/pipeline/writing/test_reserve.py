"""The reserve: held while there is room, given back, and told from room that is only promised."""

import errno
import os
from pathlib import Path

import pytest

from pipeline.writing.reserve import NAME, Reserve


def test_it_is_held_given_back_and_held_again(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path, 4096)
    assert reserve.take()
    assert (tmp_path / NAME).stat().st_size == 4096
    reserve.give()
    assert not (tmp_path / NAME).exists()
    assert reserve.take_again()
    assert (tmp_path / NAME).stat().st_size == 4096


@pytest.mark.parametrize("refusal", [errno.ENOSPC, errno.EDQUOT])
def test_room_that_is_only_promised_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    """A quota is not in what a file system says of itself."""

    def refused(*_: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "posix_fallocate", refused)
    assert not Reserve(tmp_path, 4096).take_again()
    assert not (tmp_path / NAME).exists()
