"""Which files an ingest is about, and which it leaves alone."""

import os
from pathlib import Path

import pytest

from server.chat.files import beneath, find


def _make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")


def _names(*paths: Path) -> list[str]:
    return [file.path.name for file in find(paths).files]


def test_a_folder_is_read_in_the_same_order_always(tmp_path: Path) -> None:
    _make(tmp_path, "b.md", "a.txt", "sub/z.html", "sub/a.pdf", "Z.MD")
    assert _names(tmp_path) == ["Z.MD", "a.txt", "b.md", "a.pdf", "z.html"]


def test_hidden_and_foreign_files_and_node_modules_are_left_out(tmp_path: Path) -> None:
    _make(
        tmp_path, ".git/a.md", "node_modules/x/README.md", ".hidden.md", "picture.png", "a.md", "sub/.b/c.md"
    )
    assert _names(tmp_path) == ["a.md"]


def test_linked_folders_are_not_followed_and_linked_files_only_within_the_folder(tmp_path: Path) -> None:
    _make(tmp_path, "docs/real.md", "outside/secret.md")
    docs = tmp_path / "docs"
    (docs / "loop").symlink_to(docs)
    (docs / "away").symlink_to(tmp_path / "outside")
    (docs / "alias.md").symlink_to(docs / "real.md")
    (docs / "secret.md").symlink_to(tmp_path / "outside" / "secret.md")
    (docs / "dangling.md").symlink_to(docs / "nowhere.md")

    assert _names(docs) == ["alias.md", "real.md"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    _make(tmp_path, "docs/a.md")
    assert _names(tmp_path / "docs", tmp_path / "docs" / "a.md", tmp_path / "docs" / ".." / "docs") == [
        "a.md"
    ]


def test_an_address_is_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(tmp_path, "site/docs/A b.md")
    monkeypatch.chdir(tmp_path / "site")
    assert [file.url for file in find([Path("docs")]).files] == ["docs/A%20b.md"]
    assert [file.url for file in find([Path("docs")], "https://example.com/").files] == [
        "https://example.com/docs/A%20b.md"
    ]


def test_an_address_from_elsewhere_begins_with_the_named_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(tmp_path, "one/docs/a.md", "here/x.md")
    monkeypatch.chdir(tmp_path / "here")
    assert [file.url for file in find([tmp_path / "one" / "docs"]).files] == ["docs/a.md"]
    assert [file.url for file in find([tmp_path / "one" / "docs" / "a.md"]).files] == ["a.md"]


def test_a_path_that_is_not_there_is_reported(tmp_path: Path) -> None:
    found = find([tmp_path / "nowhere"])
    assert not found.files
    assert [missing.reason for missing in found.missing] == ["there is no such file or folder"]


def test_a_name_that_is_no_text_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.md")).write_text("text")
    (found,) = find([tmp_path]).files
    assert found.source.endswith(r"caf\xe9.md")
    assert found.url.endswith("caf%E9.md")


def test_a_folder_of_a_similar_name_is_another_one() -> None:
    assert beneath("/srv/docs/a.md", ["/srv/docs"])
    assert beneath("/a.md", ["/"])
    assert not beneath("/srv/docs-old/a.md", ["/srv/docs"])


def test_deep_folders_are_walked(tmp_path: Path) -> None:
    # Not as deep as Python may recurse: pytest clears this away by recursion.
    deepest = tmp_path.joinpath(*["d"] * 300)
    deepest.mkdir(parents=True)
    _make(deepest, "a.md")
    assert _names(tmp_path) == ["a.md"]
