"""The parts of the documents that the code itself can tell, told by it.

    python -m tests.docs.reference      writes them anew; the tests only compare

Such a part lies between `<!-- begin NAME: … -->` and `<!-- end NAME -->`.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pipeline
import server
from pipeline.catalogue import EVENTS, Event
from server import errors, routes, settings

ROOT = Path(__file__).parents[2]


def import_everything() -> None:
    """Import every module of the program, so that every event is declared."""
    for package in (pipeline, server):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations." not in module.name:  # Alembic runs those, and only within a migration.
                importlib.import_module(module.name)


def events() -> str:
    """Every event: level, meaning, fields."""
    import_everything()
    return "\n".join(_event(EVENTS[name]) for name in sorted(EVENTS))


def _event(event: Event) -> str:
    level = f"{event.level}, written whatever `LOG_LEVEL` says" if event.always else event.level
    lines = [f"### {event.name}", "", f"**{level}.** {event.meaning}", ""]
    for name, field in event.fields.items():
        lines.append(f"- `{name}`: {field.meaning}{' (searched for secrets)' if field.free else ''}")
    return "\n".join(lines) + ("\n" if event.fields else "")


def settings_table() -> str:
    """Every setting."""
    return _table(
        ("setting", "takes", "default", "what it is"),
        (
            (f"`{name}`", kind.replace("|", "or"), f"`{default}`" if default else "none", text)
            for name, kind, default, text in settings.table()
        ),
    )


def routes_table() -> str:
    """Every route."""
    return _table(
        ("method", "path", "what it is", "answers", "refuses with"),
        (
            (
                route.method,
                f"`{route.path}`",
                route.summary,
                ", ".join(map(str, route.answers)),
                ", ".join(map(str, route.refusals)),
            )
            for route in routes.table(test_mode=True)
        ),
    )


def error_codes() -> str:
    """Every code of an error, with its status."""
    import_everything()
    family = {(kind.status, kind.code): kind for kind in reversed(list(_family(errors.ChatKitError)))}
    return _table(
        ("status", "`error`", "when"),
        (
            (str(status), f"`{code}`", (family[status, code].__doc__ or "").partition("\n")[0])
            for status, code in sorted(family)
        ),
    )


def _family(kind: type[errors.ChatKitError]) -> Iterator[type[errors.ChatKitError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _family(child)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell or '-' for cell in line)} |\n" for line in lines)


PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "events": ("docs/EVENTS.md", events),
    "settings": ("docs/SETTINGS.md", settings_table),
    "routes": ("docs/API.md", routes_table),
    "errors": ("docs/API.md", error_codes),
}
"""What is told, in which document, and by what."""


def written(name: str) -> str:
    """The part `name` as it stands in its document."""
    page, _ = PARTS[name]
    match = _between(name).search((ROOT / page).read_text())
    assert match is not None, f"{page} has no place for {name}"
    return match[2]


def told(name: str) -> str:
    """The part `name` as the code tells it."""
    return f"\n{PARTS[name][1]()}\n"


def _between(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- begin {name}: [^\n]* -->\n)(.*?)(<!-- end {name} -->)", re.DOTALL)


def _literal(text: str) -> str:
    return text.replace("\\", r"\\")


def main() -> None:
    """Write every part anew."""
    for name, (page, _) in PARTS.items():
        path = ROOT / page
        path.write_text(_between(name).sub(rf"\g<1>{_literal(told(name))}\g<3>", path.read_text()))


if __name__ == "__main__":
    main()
