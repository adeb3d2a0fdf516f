"""What every model of the API has in common.

Types are strict and unknown fields refused, so that a misspelt field is an error and not a silence. `/openapi.json` is made from these
classes: what a field means stands there and nowhere else. Lengths count characters (code points).
"""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, StringConstraints

ID_FORM = r"^[0-9a-f]{32}$"
"""An ID that the server makes: 128 random bits."""

PAGE_URL_LIMIT = 2_048


# A host as browsers send it, in ASCII, perhaps a port, and whatever a page's address may go on with.
_PAGE = (
    r"^https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5]?[0-9]{1,4}))?"
    r"(?:[/?#][^\s\x00-\x20\x7f]*)?$"
)


def _page(url: str) -> str:
    problem = ValueError("Must be the http or https address of a page")
    try:
        parts = urlsplit(url)
        if not parts.hostname or (parts.port or 1) < 0:
            raise problem
    except ValueError:
        raise problem from None
    return url


PageUrl = Annotated[
    str,
    StringConstraints(max_length=PAGE_URL_LIMIT, pattern=_PAGE),
    AfterValidator(_page),
]
"""The address of a page, fit to be taken apart."""


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Integer = Annotated[int, BeforeValidator(_whole)]
"""A whole number, also as JSON may write it: 2.0 (JSON Schema, section 6.1.1)."""


class Body(BaseModel):
    """What a client sends: strict, closed, and never changed once read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Reply(BaseModel):
    """What a client receives."""

    model_config = ConfigDict(extra="forbid", frozen=True)
