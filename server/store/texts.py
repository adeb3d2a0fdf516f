"""What text a database can keep: PostgreSQL refuses the character NUL, and no encoding has halves of characters.

Both databases are given the same, so that what one keeps the other keeps, too, and no text that a visitor can send is an error.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import Engine

_IMPOSSIBLE = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def storable(value: Any) -> Any:
    """A text with `REPLACEMENT` for every character that cannot be kept; anything else as it is."""
    return _IMPOSSIBLE.sub(REPLACEMENT, value) if isinstance(value, str) and not _is_plain(value) else value


def install(engine: "Engine") -> None:
    """Make every text that is given to a statement of `engine` storable, whatever it is for."""
    from sqlalchemy import event

    def cleaned(_1: object, _2: object, statement: str, parameters: Any, *_rest: object) -> tuple[str, Any]:
        return statement, _cleaned(parameters)

    event.listen(engine, "before_cursor_execute", cleaned, retval=True)


def _cleaned(parameters: Any) -> Any:
    """Parameters of one execution, or of many."""
    if isinstance(parameters, list):
        return [_cleaned(row) for row in parameters]
    if isinstance(parameters, dict):
        return {name: storable(value) for name, value in parameters.items()}
    return tuple(map(storable, parameters))


def _is_plain(text: str) -> bool:
    return text.isascii() and "\x00" not in text
