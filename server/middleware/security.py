"""Who asks, and over what: the client's address, and HTTPS enforced behind a declared proxy.

`X-Forwarded-For` and `X-Forwarded-Proto` are believed only from networks that are declared, and counted from the right: the
rightmost address that is not one of our proxies is the client; whatever stands left of it the client may have made up.
"""

import functools
import hashlib
import hmac
import ipaddress

from aiohttp import hdrs, web

from server.errors import Forbidden
from server.request import Exchange, Step

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Of other hosts below its own it says nothing: they may not be ours.
_HSTS = {"Strict-Transport-Security": "max-age=31536000"}
# Probes come from beside the server, where there is no proxy in between.
_PLAIN_HTTP = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})


class Addresses:
    """Finds a client's address and hides it behind a keyed hash. `key` is secret."""

    def __init__(self, trusted: tuple[Network, ...], key: bytes) -> None:
        self._trusted = trusted
        self._key = key
        # An instance's own caches: bounded, so that no range of addresses can make them grow.
        self.is_trusted = functools.lru_cache(maxsize=4096)(self._is_trusted)
        self.hashed = functools.lru_cache(maxsize=4096)(self._hashed)

    def client(self, peer: str, forwarded: list[str]) -> str:
        """The client's address, given the peer's and the values of `X-Forwarded-For`."""
        address = peer
        hops = [hop.strip() for value in forwarded for hop in value.split(",")]
        while hops and self.is_trusted(address):
            hop = hops.pop()
            if _parsed(hop) is None:
                break
            address = hop
        return address

    def _is_trusted(self, address: str) -> bool:
        return is_in(address, self._trusted)

    def _hashed(self, address: str) -> str:
        return hmac.new(self._key, address.encode("utf-8", "backslashreplace"), hashlib.sha256).hexdigest()[
            :16
        ]


def security(addresses: Addresses, *, https_only: bool) -> Step:
    """Know the client, and refuse plain HTTP where `https_only`."""

    def step(request: web.Request, served: Exchange) -> None:
        peer = request.remote or ""
        headers = request.headers
        address = peer
        if hdrs.X_FORWARDED_FOR in headers:
            address = addresses.client(peer, headers.getall(hdrs.X_FORWARDED_FOR))
        served.address = address
        served.client = addresses.hashed(address)
        if https_only:
            protocols = headers.getall(hdrs.X_FORWARDED_PROTO, [])
            secure = (
                bool(protocols) and addresses.is_trusted(peer) and protocols[-1].strip().lower() == "https"
            )
            if secure:
                served.carry(_HSTS)
            elif request.path not in _PLAIN_HTTP:
                raise Forbidden("This server is reached over HTTPS only. Use its https:// address.")

    return step


def is_in(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether `address` is one, and in one of `networks`."""
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in networks)


def network_of(address: str) -> str:
    """What one subscriber has: an IPv4 address, or the /64 of an IPv6 one, in which anybody can take as many as they like.

    What is no address is itself.
    """
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address if parsed is None else str(parsed)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return parsed.ipv4_mapped or parsed if isinstance(parsed, ipaddress.IPv6Address) else parsed
