"""Which of several media types a client prefers, by its `Accept` header (RFC 9110, section 12.5.1)."""

from collections.abc import Sequence
from typing import NamedTuple


class _Range(NamedTuple):
    kind: str
    subtype: str
    parameters: dict[str, str]
    quality: float


def preferred(accept: str, offers: Sequence[str]) -> str:
    """The one of `offers` (media types, our favourite first) that `accept` rates highest.

    A more specific range outweighs a less specific one; among equals the earlier offer wins; where nothing fits, or nothing
    is asked for, the first offer is given rather than refused.
    """
    ranges = [parsed for part in accept.split(",") if (parsed := _parse(part)) is not None]
    best, best_quality = offers[0], 0.0
    for offer in offers:
        quality = _quality(offer, ranges)
        if quality > best_quality:
            best, best_quality = offer, quality
    return best


def _quality(offer: str, ranges: Sequence[_Range]) -> float:
    wanted = _parse(offer)
    assert wanted is not None
    specificity, quality = (-1, -1), 0.0
    for given in ranges:
        if given.kind not in {"*", wanted.kind} or given.subtype not in {"*", wanted.subtype}:
            continue
        # Of the parameters only the version says which format is meant; `escaping` is a wish that we need not grant.
        if given.parameters.get("version", wanted.parameters.get("version")) != wanted.parameters.get(
            "version"
        ):
            continue
        how_specific = ((given.kind != "*") + (given.subtype != "*"), len(given.parameters))
        if how_specific > specificity or (how_specific == specificity and given.quality > quality):
            specificity, quality = how_specific, given.quality
    return quality


def _parse(part: str) -> _Range | None:
    media, *rest = part.split(";")
    kind, slash, subtype = media.strip().lower().partition("/")
    if not slash or not kind or not subtype:
        return None
    parameters = {}
    for parameter in rest:
        name, _, value = parameter.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"').lower()
    try:
        quality = min(1.0, max(0.0, float(parameters.pop("q", "1"))))
    except ValueError:
        return None
    return _Range(kind, subtype, parameters, quality)
