"""The types of settings that are more than a number or a text: what each accepts, and what it is called.

A validator says what is wrong without the value, which may be a secret.
"""

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Called(NamedTuple):
    """What a type is called where the settings are listed."""

    name: str


def _listed(value: object) -> object:
    """`a, b` as it is written in the environment, or a list as TOML has it."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _origin(value: str) -> str:
    parts = urlsplit(value)
    plain = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or value != plain or "@" in value:
        raise ValueError("an origin is https://host or https://host:port, with nothing behind it")
    return value.lower()


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or any(mark in value for mark in "@?#"):
        raise ValueError("must be http(s)://host, perhaps with a path, and nothing else")
    return value.rstrip("/")


def _host(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9.-]+", value):
            raise ValueError(
                "is neither a host's name nor its address; a port has a setting of its own"
            ) from None
    return value


def _mail_address(value: str) -> str:
    from .errors import InvalidEmail
    from .mail.address import normalized

    try:
        return normalized(value)
    except InvalidEmail:
        raise ValueError("is not a mail address such as chat@example.com, without a name beside it") from None


def _redis_url(value: str) -> str:
    parts = urlsplit(value)
    try:
        place = parts.path if parts.scheme == "unix" else parts.hostname and parts.port != 0
    except ValueError:  # a port that is none
        place = None
    if parts.scheme not in {"redis", "rediss", "valkey", "valkeys", "unix"} or not place:
        raise ValueError(
            "must be redis://, rediss://, valkey:// or valkeys:// and a host, or unix:// and a path"
        )
    return value


def _header(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without spaces")
    return value


def _issuer(value: str) -> str:
    # To the letter, with the slash at its end if there is one: it is compared with what the provider says.
    _base_url(value)
    return value


_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}", re.ASCII)


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value.lower()):
        raise ValueError("a domain is what stands behind the @, such as example.com")
    return value.lower()


_EACH = (NoDecode, BeforeValidator(_listed))

Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], *_EACH, Called("origins")]
Networks = Annotated[tuple[Network, ...], *_EACH, Called("networks")]
Domains = Annotated[tuple[Annotated[str, AfterValidator(_domain)], ...], *_EACH, Called("domains")]
HeaderSecret = Annotated[
    Annotated[SecretStr, AfterValidator(_header)] | None, BeforeValidator(lambda value: value or None)
]
BaseUrl = Annotated[str, AfterValidator(_base_url), Called("URL")]
MailAddress = Annotated[str, AfterValidator(_mail_address), Called("mail address")]
Host = Annotated[str, AfterValidator(_host), Called("host")]
RedisUrl = Annotated[str, AfterValidator(_redis_url), Called("URL")]
Issuer = Annotated[str, AfterValidator(_issuer), Called("URL")]

_PLAIN = {int: "integer", float: "number", bool: "true | false", Path: "path", SecretStr: "secret"}


def type_name(field: FieldInfo) -> str:
    """What the type of `field` is called, such as `integer`, `URL`, or the words it may be."""
    return next(
        _names(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation), "text"
    )


def _names(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield " | ".join(get_args(annotation))
    elif isinstance(annotation, type) and annotation in _PLAIN:
        yield _PLAIN[annotation]
    elif get_origin(annotation) is Annotated:
        yield from (mark.name for mark in annotation.__metadata__ if isinstance(mark, Called))
        yield from _names(annotation.__origin__)
    else:
        for part in get_args(annotation):
            yield from _names(part)
