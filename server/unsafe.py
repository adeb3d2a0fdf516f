"""What may not be in force: what is unsafe, what is only half set, and what production does not leave to a default."""

import importlib.util
import ipaddress
import itertools
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from .store import dialects

if TYPE_CHECKING:
    from .settings import Settings


class Problem(NamedTuple):
    """One bad setting: its name, what is wrong with it, and what to do. Never its value."""

    setting: str
    problem: str
    fix: str


_MAKE_KEY = "Make one: python -m server keys new"
_DEFAULT_KEYS = (
    "changeme",
    "change-me",
    "change_me",
    "secret-key",
    "secret_key",
    "your-secret",
    "insecure",
    "example",
    "password",
)


def unsafe(settings: "Settings") -> list[Problem]:
    """What may not be, whatever is its type; in production more than elsewhere."""
    problems = []
    if settings.integration_test_mode and not _is_loopback(settings.host):
        problems.append(
            Problem(
                "INTEGRATION_TEST_MODE",
                "is on while HOST is reachable by others",
                "Turn it off, or set HOST=127.0.0.1.",
            )
        )
    if (found := dialects.problem(settings.database_url)) is not None:
        problems.append(Problem("DATABASE_URL", *found))
    problems += _unsafe_mail(settings)
    problems += _half_a_model(settings)
    problems += _half_of_embeddings(settings)
    problems += _half_set(settings)
    problems += [
        Problem("SECRET_KEY", why, _MAKE_KEY) for key in settings.secret_keys if (why := _weakness(key))
    ]
    return problems + (_unfit_for_production(settings) if settings.production else [])


def _unfit_for_production(settings: "Settings") -> list[Problem]:
    """What is guessable, in the clear or without a bound, and what must not be left to a default."""
    problems = []
    if settings.integration_test_mode:
        problems.append(Problem("INTEGRATION_TEST_MODE", "is on in production", "Turn it off."))
    if not settings.secret_keys:
        problems.append(Problem("SECRET_KEY", "is not set", _MAKE_KEY))
    problems += [
        Problem(
            name.upper(),
            "is http:// to another network, where questions and the key could be read on the way",
            "Use its https:// address.",
        )
        for name in ("llm_base_url", "embedding_base_url")
        if (url := getattr(settings, name)) and not _is_private(url)
    ]
    if not settings.rate_limits:
        problems.append(Problem("RATE_LIMITS", "is off in production", "Turn it on."))
    if settings.workers > 1 and settings.redis_url is None:
        problems.append(
            Problem(
                "REDIS_URL",
                "is not set, so each of several workers would count visitors' requests for itself",
                "Set it, such as REDIS_URL=redis://127.0.0.1:6379/0, or WORKERS=1.",
            )
        )
    if "database_url" not in settings.model_fields_set:
        problems.append(
            Problem(
                "DATABASE_URL",
                "is not set, and SQLite is only used in production when asked for",
                "To use SQLite: DATABASE_URL=sqlite+aiosqlite:///var/chatkit.db",
            )
        )
    if not (settings.base_url or "").startswith("https://"):
        problems.append(
            Problem(
                "BASE_URL",
                "is not https://",
                "Set it to the address visitors use, such as https://chat.example.com",
            )
        )
    if not settings.trusted_proxies:
        problems.append(
            Problem(
                "TRUSTED_PROXIES",
                "is empty, so every request would count as plain HTTP",
                "Name the proxy that ends TLS: TRUSTED_PROXIES=127.0.0.1",
            )
        )
    return problems


def _unsafe_mail(settings: "Settings") -> list[Problem]:
    """Half a log-in, mail from nobody, and a password in the clear."""
    if not settings.smtp_host:
        return []
    problems = []
    if settings.from_email is None:
        problems.append(
            Problem("FROM_EMAIL", "is not set, and SMTP_HOST is", "For example: FROM_EMAIL=chat@example.com")
        )
    if bool(settings.smtp_user) != bool(settings.smtp_password):
        lacking = "SMTP_PASSWORD" if settings.smtp_user else "SMTP_USER"
        problems.append(
            Problem(
                lacking, "is not set, and the other half of the log-in is", "Set both or neither of the two."
            )
        )
    if settings.smtp_password and settings.smtp_security == "none":
        fix = "Use starttls or tls, or unset SMTP_USER and SMTP_PASSWORD."
        problems.append(Problem("SMTP_TLS", "is none, which would send SMTP_PASSWORD in the clear", fix))
    return problems


def _half_a_model(settings: "Settings") -> list[Problem]:
    """A language model is an address and a name."""
    model = (settings.llm_model or "").strip()
    if settings.llm_base_url and not model:
        fix = "Name the model to ask there, such as LLM_MODEL=gpt-4o-mini"
        return [Problem("LLM_MODEL", "is not set while LLM_BASE_URL is", fix)]
    if model and not settings.llm_base_url:
        fix = "Say where it answers, such as LLM_BASE_URL=https://api.openai.com/v1, or remove LLM_MODEL."
        return [Problem("LLM_BASE_URL", "is not set while LLM_MODEL is", fix)]
    return []


def _half_of_embeddings(settings: "Settings") -> list[Problem]:
    """A model that embeds is a name and an address, and takes a package."""
    if not (settings.embedding_model or "").strip():
        if settings.embedding_base_url is None:
            return []
        fix = "Name the model to ask there, such as EMBEDDING_MODEL=text-embedding-3-small"
        return [Problem("EMBEDDING_MODEL", "is not set while EMBEDDING_BASE_URL is", fix)]
    problems = []
    if settings.embedding_url is None:
        fix = "Say where it answers, such as EMBEDDING_BASE_URL=https://api.openai.com/v1, or remove EMBEDDING_MODEL."
        problems.append(
            Problem("EMBEDDING_BASE_URL", "is not set while EMBEDDING_MODEL is, nor is LLM_BASE_URL", fix)
        )
    if importlib.util.find_spec("numpy") is None:
        fix = "Run: make extras"
        problems.append(Problem("EMBEDDING_MODEL", "is set, and numpy is not installed", fix))
    return problems


def _is_private(url: str) -> bool:
    """Whether `url` is encrypted, or its host on this machine or in a network of one's own; a name without a dot is no public one."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
    return address.is_private or address.is_loopback


_PROVIDERS = {
    "google": ("client_id", "client_secret"),
    "microsoft": ("client_id", "client_secret"),
    "github": ("client_id", "client_secret"),
    "oidc": ("issuer", "client_id", "client_secret"),
}
"""What each identity provider takes, all of it or nothing."""


def _half_set(settings: "Settings") -> list[Problem]:
    """Identity providers of which something is set and something is not, or that would be asked in the clear."""
    problems = []
    for provider, parts in _PROVIDERS.items():
        names = [f"oauth_{provider}_{part}" for part in parts]
        given = [name for name in names if getattr(settings, name) is not None]
        if given:
            others = " and ".join(name.upper() for name in given)
            problems += [
                Problem(name.upper(), f"is not set, and {others} is", "Set all of them, or none.")
                for name in names
                if name not in given
            ]
    for name in ("oauth_github_url", "oauth_oidc_issuer"):
        parts = urlsplit(getattr(settings, name) or "https:")
        if parts.scheme != "https" and (settings.production or not _is_loopback(parts.hostname or "")):
            where = "" if settings.production else ", or http on this machine"
            problems.append(Problem(name.upper(), "is not https://", f"Use its https:// address{where}."))
    return problems


def _weakness(key: str) -> str:
    """Why `key` can be guessed, or an empty text."""
    if len(key.encode()) < 32:
        return "is shorter than 32 bytes"
    if any(word in key.lower() for word in _DEFAULT_KEYS):
        return "is a known default"
    steps = [ord(b) - ord(a) for a, b in itertools.pairwise(key)]
    period = (key + key).find(key, 1)
    if (
        len(set(key)) < 10
        or period <= len(key) // 2
        or sum(abs(step) <= 1 for step in steps) > len(steps) // 2
    ):
        return "is too regular to be random"
    return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
