"""Which files an ingest is about: a folder's readable ones in a fixed order, and the address of each.

Hidden files and folders, `node_modules` and linked folders are left out; a linked file counts when it leads to a file within the
same folder. So no walk can run in circles or out of what its owner named.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .readers import KINDS

_LEFT_OUT = frozenset({"node_modules", "__pycache__"})


@dataclass(frozen=True, slots=True)
class File:
    """One file to ingest. `source` is its absolute path, printable; `url` is where a reader finds it."""

    path: Path
    source: str
    url: str


@dataclass(frozen=True, slots=True)
class Missing:
    """A path that cannot be read at all, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the paths name: files to read, paths that failed, and folders whose files are all known now."""

    files: Sequence[File]
    missing: Sequence[Missing]
    folders: Sequence[str]
    unseen: Sequence[str]
    """Folders within those that could not be listed: what was read there before stays."""


def find(paths: Sequence[Path], base_url: str = "") -> Found:
    """The files at `paths`, each once, in the order of the paths and by name within a folder.

    A file's address is its path relative to the working folder, or, outside of it, from the named folder on; `base_url` is
    put before it.
    """
    files: dict[str, File] = {}
    missing: list[Missing] = []
    folders: list[str] = []
    unseen: list[str] = []
    for path in paths:
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
        if absolute.is_dir():
            folders.append(shown(absolute))
            found, refused = _walk(absolute)
            for each in refused:
                missing.append(Missing(shown(each), "the folder cannot be listed"))
                unseen.append(shown(each))
        elif absolute.exists() or absolute.is_symlink():
            found = [absolute]
        else:
            missing.append(Missing(shown(absolute), "there is no such file or folder"))
            continue
        for each in found:
            source = shown(each)
            files.setdefault(source, File(each, source, _url(each, absolute, base_url)))
    return Found(list(files.values()), missing, folders, unseen)


def shown(path: Path) -> str:
    """`path` as text that can be stored; bytes that are no text are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _walk(top: Path) -> tuple[list[Path], list[Path]]:
    """The readable files under `top`, sorted, and the folders that could not be listed. Never recurses."""
    files: list[Path] = []
    refused: list[Path] = []
    home = os.path.realpath(top)
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
        except OSError:
            refused.append(folder)
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _LEFT_OUT:
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif Path(entry.name).suffix.lower() in KINDS and _belongs(entry, home):
                files.append(Path(entry.path))
    return sorted(files, key=lambda path: [os.fsencode(part) for part in path.parts]), refused


def _belongs(entry: "os.DirEntry[str]", home: str) -> bool:
    if not entry.is_symlink():
        return entry.is_file(follow_symlinks=False)
    target = Path(os.path.realpath(entry.path))
    return target.is_file() and target.is_relative_to(home)


def _url(path: Path, named: Path, base_url: str) -> str:
    here = Path.cwd()
    # From elsewhere, the name of the folder that was asked for is part of the address: it tells two folders apart.
    address = quote(os.fsencode(path.relative_to(here if path.is_relative_to(here) else named.parent)))
    return f"{base_url.rstrip('/')}/{address}" if base_url else address


def beneath(source: str, folders: Sequence[str]) -> bool:
    """Whether `source` lies in one of `folders`."""
    return any(source.startswith(folder.rstrip("/") + "/") for folder in folders)
