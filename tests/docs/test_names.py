"""What the documents name exists: files, functions, settings, commands of make, pages and their headings."""

import importlib
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from server.settings import table
from tests.docs.console import steps
from tests.docs.reading import PAGES, ROOT, anchors, blocks, code, headings, links

OURS = ("server/", "pipeline/", "widget/", "tests/", "docs/", "requirements/", ".ci/")
MADE = ("server/static/widget/",)
"""Made by `make setup`; a clone does not have it yet."""
OPERATIONS = [
    ROOT / "README.md",
    *(ROOT / "docs" / name for name in ("OPS_RUNBOOK.md", "INCIDENT_RESPONSE.md", "OBSERVABILITY_GUIDE.md")),
]
DATA = {"json", "html", "text", "toml", "ini", "nginx", "yaml", "markdown", "python", "ts"}
"""Kinds of block that nobody would paste into a shell."""
COMMANDS = [block for page in PAGES for block in blocks(page) if block.kind == "console"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SETTINGS = {name for name, _, _, _ in table()}
IN_THE_LOG = re.compile(
    r"SQLITE_[A-Z]+|POOL_EXHAUSTED|FILE_GONE|FILE_REPLACED|NAME_NOT_RESOLVED|CONNECTION_FAILED|CONNECTION_CLOSED|TLS_FAILED|WRONG_ENCODING|BAD_ADDRESS"
    r"|[A-Z_]+_TIMEOUT|CONNECT_FAILED|CUT_OFF|NOT_A_STREAM|BAD_JSON|BAD_VECTOR|NOT_JSON|WRONG_COUNT|WRONG_DIMENSIONS|ERROR_OBJECT|ANOTHER_ISSUER|BAD_ENDPOINT"
)
"""Names in capitals that are no settings."""

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@every_page
def test_a_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        parts = urlsplit(link.target)
        if parts.scheme:
            if parts.scheme != "https":
                broken.append(f"{link.line}: {link.target} is not https")
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if not target.is_relative_to(ROOT) or not target.exists():
            broken.append(f"{link.line}: {link.target} is not there")
        elif parts.fragment and parts.fragment not in anchors(target):
            broken.append(f"{link.line}: {link.target} has no such heading")
    assert not broken


@every_page
def test_a_file_that_is_named_exists(page: Path) -> None:
    named = {text for _, text in code(page) if text.startswith(OURS) and " " not in text and "…" not in text}
    missing = {text for text in named if not text.startswith(MADE) and not list(ROOT.glob(text.rstrip("/")))}
    assert not missing


@every_page
def test_a_function_that_is_named_exists(page: Path) -> None:
    for _, text in code(page):
        if re.fullmatch(r"(server|pipeline|tests)(\.\w+)+", text) and not text.endswith((".md", ".db")):
            assert resolves(text), text


def resolves(name: str) -> bool:
    """Whether the dotted `name` is a module, or something in one."""
    module, _, attributes = name, "", ""
    while module:
        try:
            value: object = importlib.import_module(module)
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            attributes = f"{last}.{attributes}".rstrip(".")
            continue
        for attribute in filter(None, attributes.split(".")):
            if not hasattr(value, attribute):
                return False
            value = getattr(value, attribute)
        return True
    return False


@every_page
def test_a_command_of_make_that_is_named_exists(page: Path) -> None:
    named = {match[1] for _, text in code(page) if (match := re.fullmatch(r"make ([a-z-]+)( .*)?", text))}
    assert named <= TARGETS


@every_page
def test_a_setting_that_is_named_exists(page: Path) -> None:
    named = {
        match[1] for _, text in code(page) if (match := re.fullmatch(r"([A-Z]+(?:_[A-Z]+)+)(=\S*)?", text))
    }
    assert {name for name in named if not IN_THE_LOG.fullmatch(name)} <= SETTINGS


@pytest.mark.parametrize("page", OPERATIONS, ids=lambda page: page.name)
def test_a_block_is_executed_or_is_nothing_to_execute(page: Path) -> None:
    assert not [block.place for block in blocks(page) if block.kind not in {"console", *DATA}]


PROGRAM = re.compile(
    r"(?:python -m \w+ \w+|(?:cat|curl|df|docker|find|fuser|grep|journalctl|kill|ls|lsof|rm|ss|systemctl|tar) -?\w+)\b"
)


@pytest.mark.parametrize("page", OPERATIONS, ids=lambda page: page.name)
def test_a_command_in_the_text_is_one_that_some_block_executes(page: Path) -> None:
    executed = {
        match[0]
        for block in COMMANDS
        for step in steps(block.text)
        for match in PROGRAM.finditer(step.command)
    }
    named = {match[0] for _, text in code(page) if (match := PROGRAM.match(text))}
    assert named <= executed


@every_page
def test_a_console_block_has_a_command(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "console":
            assert steps(block.text)


RUNBOOK = [
    "Service won't start",
    "Users report authentication failures",
    "Rate-limit complaints",
    "Suspected token leakage",
    "High error rate",
    "Database connectivity",
    "Widget not loading",
    "Reading the metrics",
]


def test_the_runbook_has_its_eight_sections_each_with_its_four_parts() -> None:
    found = headings(ROOT / "docs" / "OPS_RUNBOOK.md")
    sections = [text for level, text in found if level == 2 and re.match(r"\d", text)]
    assert sections == [f"{number}. {text}" for number, text in enumerate(RUNBOOK, 1)]
    for section in sections:
        start = found.index((2, section))
        parts = []
        for level, text in found[start + 1 :]:
            if level <= 2:
                break
            if level == 3:
                parts.append(text)
        assert parts == ["Meaning", "Impact", "Diagnosis", "Mitigation"]


def test_the_incident_guide_goes_from_detection_to_the_post_mortem() -> None:
    found = [text for _, text in headings(ROOT / "docs" / "INCIDENT_RESPONSE.md")]
    steps_in_order = [
        "Detection",
        "Triage",
        "Response",
        "Investigation",
        "Mitigation",
        "Resolution",
        "Post-mortem",
    ]
    assert [text for text in found if text in steps_in_order] == steps_in_order


def test_the_tree_in_the_architecture_is_the_tree() -> None:
    listed = set()
    folders: list[str] = []
    for block in blocks(ROOT / "docs" / "ARCHITECTURE.md"):
        if block.directive != ("tree", "all modules"):
            continue
        for line in block.text.splitlines():
            depth = (len(line) - len(line.lstrip())) // 2
            name = line.split()[0]
            folders[depth:] = [name.rstrip("/")]
            listed.add("/".join(folders[: depth + 1]))
    assert listed
    assert not {path for path in listed if not (ROOT / path).exists()}
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in ("server", "pipeline")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py" and "migrations" not in path.parts
    }
    assert not modules - listed
