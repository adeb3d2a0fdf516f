"""From settings to parts: each function makes one of what the settings say, and says what to do when that cannot be done."""

import contextlib
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pipeline.flush import flush
from pipeline.segments import FolderInUse

from .accounts.oauth import providers
from .accounts.oauth.github import GitHubProvider
from .accounts.oauth.identity import Provider
from .accounts.oauth.openid import OpenIDProvider
from .accounts.oauth.upstream import Upstream
from .clock import wall_clock
from .limits.redis import RedisLimiter
from .mail.carrier import Carrier, NoCarrier
from .mail.folder import Folder, show_on_terminal
from .mail.smtp import MailServer
from .mail.smtp import Server as MailHost
from .origins import Origins, origin_of
from .settings import Settings
from .steps import StepFailed, step
from .store import migrate
from .upstream.breaker import Tolerance
from .upstream.endpoint import Model
from .upstream.llm import LLM
from .upstream.memory import Memory
from .upstream.patience import Patience

if TYPE_CHECKING:
    from .upstream.embeddings import Embeddings

DEVELOPER = "chatkit@localhost"
"""Who a letter is from that nobody receives."""


def listening_step(settings: Settings) -> contextlib.AbstractContextManager[None]:
    """Within the block, what can go wrong with the address."""
    fix = f"Does another program have the port? Set PORT (now {settings.port}), or HOST."
    return step("listen", fix, OSError)


@contextlib.contextmanager
def opening_log(settings: Settings) -> Iterator[None]:
    """Within the block, what can go wrong with the log's folder."""
    with (
        step(
            "write the log",
            f"Make the folders writable and see that there is room: LOG_DIR (now {settings.log_dir}),"
            f" LOG_RING_DIR (now {settings.log_ring_dir or settings.state_dir}).",
            OSError,
        ),
        step(
            "open the log",
            f"Stop the other server, or set LOG_DIR (now {settings.log_dir}) and STATE_DIR (now {settings.state_dir}).",
            FolderInUse,
        ),
    ):
        yield


async def prepare_database(settings: Settings) -> None:
    """The database in its present shape; in production that is left to `python -m server migrate`."""
    obstacle = await migrate.obstacle(settings.database_url)
    if obstacle is None:
        return
    if settings.production:
        raise StepFailed("use the database", *obstacle)
    await migrate.upgrade(settings.database_url)


def secret_keys(settings: Settings) -> tuple[bytes, ...]:
    """The keys in `SECRET_KEY`, the one that signs first; in development without one, a key that is made once and kept."""
    with step(
        "keep state", f"Make the folder writable, or set STATE_DIR (now {settings.state_dir}).", OSError
    ):
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        if settings.secret_keys:
            return tuple(key.encode() for key in settings.secret_keys)
        return (_kept_key(settings.state_dir),)


def _kept_key(folder: Path) -> bytes:
    path = folder / "development-key"
    if not path.exists():
        # Written beside and renamed, so that there is never half a key.
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_bytes(secrets.token_urlsafe(32).encode())
        flush(draft)
        draft.rename(path)
        flush(folder)
    return path.read_bytes()


def embedding(settings: Settings) -> Origins:
    """The sites that may embed the widget."""
    own = {origin_of(settings.base_url)} if settings.base_url else set[str]()
    return Origins(
        frozenset({*settings.cors_origins, *own}),
        any_localhost=not settings.production and not settings.cors_origins,
    )


def shared_limiter(settings: Settings) -> RedisLimiter | None:
    """What counts for all workers; None without Redis. Raises ``StepFailed``."""
    fix = "Correct REDIS_URL. Its packages come with: make extras"
    with step("count in Redis", fix, ImportError, TypeError, ValueError):
        return RedisLimiter(settings.redis_url) if settings.redis_url else None


def language_model(settings: Settings) -> LLM | None:
    """The language model that the settings name, if they name one."""
    if settings.llm_base_url is None:
        return None
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else ""
    return LLM(
        Model(settings.llm_base_url, (settings.llm_model or "").strip(), key, settings.llm_max_tokens),
        Patience(
            settings.llm_connect_seconds,
            settings.llm_first_token_seconds,
            settings.llm_between_tokens_seconds,
            settings.llm_timeout_seconds,
        ),
        Tolerance(settings.llm_breaker_failures, settings.llm_breaker_seconds),
        Memory(settings.llm_cache_bytes, settings.llm_cache_seconds),
    )


def embedding_model(settings: Settings) -> "Embeddings | None":
    """The model that embeds, if the settings name one."""
    if settings.embedding_url is None:
        return None
    from .upstream.embeddings import Embeddings

    own = settings.embedding_api_key
    # A key goes nowhere but where it was given for.
    key = settings.llm_api_key if own is None and settings.embedding_url == settings.llm_base_url else own
    return Embeddings(
        Model(
            settings.embedding_url,
            (settings.embedding_model or "").strip(),
            key.get_secret_value() if key else "",
        ),
        settings.embedding_timeout_seconds,
        Tolerance(settings.llm_breaker_failures, settings.llm_breaker_seconds),
    )


def identity_providers(settings: Settings, upstream: Upstream) -> dict[str, Provider]:
    """Those that are set up, by their name."""

    def secret(name: str) -> str:
        given = getattr(settings, f"oauth_{name}_client_secret")
        return given.get_secret_value() if given is not None else ""

    found: list[Provider] = []
    if settings.oauth_google_client_id is not None:
        google = providers.google(settings.oauth_google_client_id, secret("google"))
        found.append(OpenIDProvider(google, upstream, wall_clock))
    if settings.oauth_microsoft_client_id is not None:
        tenant = settings.oauth_microsoft_tenant
        microsoft = providers.microsoft(settings.oauth_microsoft_client_id, secret("microsoft"), tenant)
        found.append(OpenIDProvider(microsoft, upstream, wall_clock))
    if settings.oauth_github_client_id is not None:
        site = settings.oauth_github_url
        found.append(
            GitHubProvider(
                providers.github(settings.oauth_github_client_id, secret("github"), site), upstream
            )
        )
    if settings.oauth_oidc_issuer is not None:
        other = providers.openid(
            settings.oauth_oidc_issuer,
            settings.oauth_oidc_client_id or "",
            secret("oidc"),
            settings.oauth_oidc_name,
            settings.oauth_oidc_email_domains,
        )
        found.append(OpenIDProvider(other, upstream, wall_clock))
    return {provider.client.id: provider for provider in found}


def mail_carrier(settings: Settings) -> Carrier:
    """What takes mail: the mail server that is set, in development without one a folder, in production without one nothing."""
    if not settings.smtp_host:
        if settings.production:
            return NoCarrier()
        # On a terminal there is no log; where there is one, no link is written.
        show = show_on_terminal if sys.stderr.isatty() else None
        return Folder(settings.mail_dir, settings.from_email or DEVELOPER, show)
    assert settings.from_email is not None
    name = urlsplit(settings.base_url or "").hostname or ""
    server = MailHost(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_security,
        settings.smtp_user,
        settings.smtp_password.get_secret_value() if settings.smtp_password else None,
        # The one name of ours that others can look up.
        **({"helo": name} if "." in name and not name.replace(".", "").isdigit() else {}),
    )
    return MailServer(server, settings.from_email)
