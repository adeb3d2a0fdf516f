"""Every setting: its name, type, default and help; and what is refused before anything starts.

A setting comes from the environment, else from `.env`, else from `config/chatkit.toml`, else from its default here. Names
are the same everywhere (in the file in lower case). A relative path is relative to the folder the server is started in.

`load` either returns settings that are fit to run with or raises ``SettingsError`` that names every bad one and its fix, and
never a value.
"""

import difflib
import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .setting_types import (
    BaseUrl,
    Domains,
    HeaderSecret,
    Host,
    Issuer,
    MailAddress,
    Networks,
    Origins,
    RedisUrl,
    type_name,
)
from .unsafe import Problem, unsafe

MAX_WORKERS = 32
ENV_FILE = Path(".env")
TOML_FILE = Path("config/chatkit.toml")


class SettingsError(Exception):
    """The server will not start with these settings."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{name}: {problem}" for name, problem, _ in problems))
        self.problems = problems


class Settings(BaseSettings):
    """What is in force."""

    model_config = SettingsConfigDict(env_file=ENV_FILE, toml_file=TOML_FILE, extra="ignore", frozen=True)

    environment: Literal["development", "production"] = Field(
        "development",
        description="`development` runs with no settings at all; `production` refuses what is not safe.",
    )
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="The port to listen on; 0 takes a free one.")
    workers: int = Field(
        1,
        ge=1,
        le=MAX_WORKERS,
        description="How many processes serve. With more than one, gunicorn replaces one that dies.",
    )
    base_url: BaseUrl | None = Field(
        None,
        description="Where visitors reach this server. Must be https:// in production.",
        examples=["https://chat.example.com"],
    )
    cors_origins: Origins = Field(
        (),
        description="The sites that embed the widget, by comma. In development, when empty: every port of localhost.",
        examples=["https://www.example.com,https://docs.example.com"],
    )
    trusted_proxies: Networks = Field(
        (),
        description="Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, by comma.",
        examples=["10.0.0.0/8,127.0.0.1"],
    )
    database_url: str = Field(
        "sqlite+aiosqlite:///var/chatkit.db",
        repr=False,  # it may hold a password
        description="The database: sqlite+aiosqlite:///path, or postgresql://role:password@host/database. In production it must be set, "
        "even to SQLite.",
    )
    database_pool_size: int = Field(
        8,
        ge=2,
        le=1000,
        description="How many connections to the database each worker opens at most. PostgreSQL's `max_connections` must be more than "
        "those of all workers on all machines together.",
    )
    redis_url: RedisUrl | None = Field(
        None,
        description="Redis or Valkey, where all workers of all machines count requests together. In production more than one worker "
        "needs it.",
        examples=["redis://127.0.0.1:6379/0"],
    )
    rate_limits: bool = Field(
        True, description="Whether what visitors ask is limited. Off only in development, for load and tests."
    )
    shared_networks: Networks = Field(
        (),
        description="Networks in which many visitors share an address, such as an office's, by comma: 20 times as much is allowed to "
        "each of their addresses.",
        examples=["198.51.100.7,203.0.113.0/24"],
    )
    chat_alone_seconds: float = Field(
        30.0,
        ge=0,
        description="How long an answer is made on when nobody follows it any more. A reload takes less, and finds it again.",
    )
    chat_inflight: int = Field(
        64,
        ge=1,
        description="How many questions each worker answers at a time; who comes beyond that is told at once to come back shortly.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Keys the hashes of addresses and sessions: at least 32 random bytes. Several by comma, the first signs. "
        "In development, when absent, one is made and kept in `STATE_DIR`.",
    )
    integration_test_mode: bool = Field(
        False,
        description="Opens `/test/faults/…`, which break things on purpose. Only on a loopback address.",
    )
    llm_base_url: BaseUrl | None = Field(
        None,
        description="Where a language model answers, by OpenAI's HTTP interface; without one, answers are passages of the documents.",
        examples=["https://api.openai.com/v1"],
    )
    llm_api_key: HeaderSecret = Field(None, description="What opens that door, if it takes a key.")
    llm_model: str | None = Field(None, description="The model's name there.", examples=["gpt-4o-mini"])
    llm_timeout_seconds: float = Field(
        60.0, gt=0, description="How long the language model may be waited for, for one answer in all."
    )
    llm_connect_seconds: float = Field(5.0, gt=0, description="How long a connection to it may take.")
    llm_first_token_seconds: float = Field(
        15.0,
        gt=0,
        description="How long its first token may take, from the call on, repeated calls included.",
    )
    llm_between_tokens_seconds: float = Field(
        10.0, gt=0, description="How long each further token may take after the one before."
    )
    llm_max_tokens: int = Field(
        1000, ge=0, description="How many tokens it may answer with; 0 leaves that to it."
    )
    llm_daily_tokens: int = Field(
        0,
        ge=0,
        description="How many tokens may be paid for in a day (of UTC), by all workers together; 0 is no bound. After that passages "
        "are told instead.",
    )
    llm_conversation_tokens: int = Field(
        0, ge=0, description="How many tokens may be paid for in one conversation; 0 is no bound."
    )
    llm_cache_bytes: int = Field(
        8 << 20,
        ge=0,
        description="How much of what the language model has answered a worker remembers, for who asks the very same; 0 remembers nothing.",
    )
    llm_cache_seconds: float = Field(
        3600.0, ge=0, description="For how long it remembers an answer; 0 remembers nothing."
    )
    llm_breaker_failures: int = Field(
        5,
        ge=1,
        description="After so many failures in a row a model is left alone for a while: the one that writes, and the one that embeds, each "
        "for itself.",
    )
    llm_breaker_seconds: float = Field(
        10.0,
        gt=0,
        description="For how long it is left alone at first; when it still fails after that, for longer, up to a minute.",
    )
    embedding_model: str | None = Field(
        None,
        description="A model that tells by vectors what texts mean, so that a question also finds passages in other words; its name where "
        "`EMBEDDING_BASE_URL` leads.",
        examples=["text-embedding-3-small"],
    )
    embedding_base_url: BaseUrl | None = Field(
        None,
        description="Where it answers, by OpenAI's HTTP interface; when empty, where the language model does.",
        examples=["http://127.0.0.1:11434/v1"],
    )
    embedding_api_key: HeaderSecret = Field(
        None,
        description="What opens that door, if it takes a key; when empty, the language model's key, if it answers at the same address.",
    )
    embedding_timeout_seconds: float = Field(
        2.0,
        gt=0,
        description="How long a question's vector may be waited for; after that, words alone decide what is found.",
    )
    embedding_similarity: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="From which cosine on a passage is taken to bear on a question. Models differ: docs/how-to/use-embeddings.md says how "
        "to find it.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="The least level that is written. `http_request` is written at any."
    )
    log_dir: Path = Field(
        Path("var/log"), description="The folder of the event log; point log shippers at it."
    )
    state_dir: Path = Field(
        Path("var/state"),
        description="What the server keeps between starts: rings, figures, and in development the key.",
    )
    log_linger_ms: float = Field(
        5.0, ge=0, le=1000, description="How long the writer waits for more events before it writes a batch."
    )
    log_segment_bytes: int = Field(64 << 20, ge=4096, description="A log segment ends at this size.")
    log_segment_seconds: float = Field(3600, ge=1, description="A log segment ends at this age.")
    log_archive_after_seconds: float = Field(
        900,
        ge=600,
        description="A closed log segment is compressed into `archive/` after so long; shippers must have read it by then.",
    )
    log_retention_seconds: float = Field(
        30 * 86_400, ge=3600, description="Log segments older than this are deleted."
    )
    log_disk_budget_bytes: int = Field(
        2 << 30,
        ge=1 << 20,
        description="What the log may take on the disk, archive included; the oldest archives are deleted first.",
    )
    log_ring_bytes: int = Field(
        8 << 20,
        ge=1 << 16,
        description="How many bytes of events may wait for the disk, for each worker, in a file that outlives a killed process.",
    )
    log_ring_dir: Path | None = Field(
        None,
        description="The folder of the ring and figures files, `STATE_DIR` when empty. They are memory that is mapped to a disk: "
        "should that disk ever hang, so does the server. A folder in memory, such as /dev/shm/chatkit, never hangs, and outlives "
        "a killed process, but neither the machine nor the container.",
        examples=["/dev/shm/chatkit"],  # noqa: S108 - an example
    )
    conversation_retention_days: float = Field(
        30.0,
        gt=0,
        description="A conversation that nobody saved is deleted so long after it last went on.",
    )
    smtp_host: Host | None = Field(
        None,
        description="The mail server. Without one, mail is put into `MAIL_DIR` in development, and not sent in production.",
        examples=["smtp.example.com"],
    )
    smtp_port: int = Field(587, ge=1, le=65535, description="The mail server's port.")
    smtp_tls: Literal["starttls", "tls", "none"] | None = Field(
        None,
        description="How the connection to it is encrypted: from the first byte (`tls`), from a command on (`starttls`), or not at all. "
        "When empty: `tls` on port 465, `starttls` on any other.",
        examples=["starttls"],
    )
    smtp_user: str | None = Field(
        None, description="The name to log in to the mail server with.", examples=["chat"]
    )
    smtp_password: SecretStr | None = Field(
        None, description="The password to it. It is never sent over a connection that is not encrypted."
    )
    from_email: MailAddress | None = Field(
        None, description="The address that mail comes from.", examples=["chat@example.com"]
    )
    mail_dir: Path = Field(
        Path("var/mail"),
        description="Where mail is put in development, when there is no `SMTP_HOST`: one file a message.",
    )
    oauth_google_client_id: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="The client ID with which visitors sign in with Google.",
    )
    oauth_google_client_secret: SecretStr | None = Field(
        None, min_length=1, description="The secret of that client."
    )
    oauth_microsoft_client_id: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="The application (client) ID with which visitors sign in with Microsoft.",
    )
    oauth_microsoft_client_secret: SecretStr | None = Field(
        None, min_length=1, description="The secret of that application."
    )
    oauth_microsoft_tenant: str = Field(
        "common",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,127}$",
        description="Whose Microsoft accounts: the ID of one tenant, `organizations`, `consumers`, or `common` for all.",
    )
    oauth_github_client_id: str | None = Field(
        None,
        min_length=1,
        max_length=512,
        description="The client ID with which visitors sign in with GitHub.",
    )
    oauth_github_client_secret: SecretStr | None = Field(
        None, min_length=1, description="The secret of that client."
    )
    oauth_github_url: BaseUrl = Field(
        "https://github.com",
        description="Which GitHub: the address of a GitHub Enterprise Server, or GitHub's own.",
    )
    oauth_oidc_issuer: Issuer | None = Field(
        None,
        max_length=512,
        description="The issuer of any other OpenID provider with which visitors sign in: below it is its `/.well-known/openid-configuration`.",
        examples=["https://login.example.com/realms/staff"],
    )
    oauth_oidc_client_id: str | None = Field(
        None, min_length=1, max_length=512, description="The client ID that this provider gave us."
    )
    oauth_oidc_client_secret: SecretStr | None = Field(
        None, min_length=1, description="The secret of that client."
    )
    oauth_oidc_name: str = Field(
        "Single sign-on", min_length=1, max_length=64, description="What the button for this provider says."
    )
    oauth_oidc_email_domains: Domains = Field(
        (),
        description="The domains, by comma, whose mail addresses this provider answers for: for those it opens an account that exists.",
        examples=["example.com,example.org"],
    )
    request_max_bytes: int = Field(128 << 10, ge=1024, description="The largest body a request may have.")
    request_body_seconds: float = Field(10.0, gt=0, description="How long a client may take to send a body.")
    keepalive_seconds: float = Field(
        65.0, gt=0, description="How long an idle connection, or one that sends its headers slowly, is kept."
    )
    shutdown_seconds: float = Field(
        10.0,
        gt=0,
        description="How long a stop may take: requests in flight, then letters, the store, and the log.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic hands it over by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment, `.env`, `config/chatkit.toml`, in that order."""
        return init_settings, env_settings, dotenv_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def production(self) -> bool:
        """Whether this is production."""
        return self.environment == "production"

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """The keys, the one that signs first."""
        text = self.secret_key.get_secret_value() if self.secret_key else ""
        return tuple(key.strip() for key in text.split(",") if key.strip())

    @property
    def smtp_security(self) -> Literal["starttls", "tls", "none"]:
        """How the connection to the mail server is encrypted; port 465 is for TLS from the first byte (RFC 8314)."""
        return self.smtp_tls or ("tls" if self.smtp_port == 465 else "starttls")

    @property
    def embedding_url(self) -> str | None:
        """Where the model that embeds answers, if one is named."""
        named = (self.embedding_model or "").strip()
        return self.embedding_base_url or self.llm_base_url if named else None

    @property
    def fingerprint(self) -> str:
        """Six hex digits that change when any setting does."""
        values = [getattr(self, name) for name in type(self).model_fields]
        secrets = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        text = self.model_dump_json() + "\0".join([*self.secret_keys, *secrets])
        return hashlib.sha256(text.encode()).hexdigest()[:6]


def load(**overrides: Any) -> Settings:
    """The settings in force. Raises ``SettingsError`` that names every bad one."""
    problems: list[Problem] = []
    try:
        problems += _misspelt()
        settings = Settings(**overrides)
    except ValidationError as error:
        refused = {problem.setting: problem for problem in map(_refused, error.errors())}
        # The rest is judged with the refused ones at their defaults, so that everything is told at once.
        defaults = {name.lower(): Settings.model_fields[name.lower()].default for name in refused}
        rest = unsafe(Settings(**overrides | defaults))
        raise SettingsError(
            [*problems, *refused.values(), *(problem for problem in rest if problem.setting not in refused)]
        ) from None
    except UnicodeDecodeError:
        files = f"{ENV_FILE} or {TOML_FILE}"
        raise SettingsError([Problem(files, "is not UTF-8 text", "Save it as UTF-8.")]) from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            [Problem(str(TOML_FILE), f"is not TOML: {error}", "Correct that line.")]
        ) from None
    problems += unsafe(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def table() -> list[tuple[str, str, str, str]]:
    """Every setting as (NAME, type, default, help), in order."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None or field.default == () else str(field.default)
        rows.append((name.upper(), type_name(field), default, field.description or ""))
    return rows


def masked(settings: Settings) -> dict[str, str]:
    """What is in force, by name, with passwords and keys hidden."""
    shown: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            several = f": {len(settings.secret_keys)}" if name == "secret_key" else ""
            shown[name.upper()] = f"(set{several})"
        elif isinstance(value, tuple):
            shown[name.upper()] = ",".join(map(str, value))
        else:
            shown[name.upper()] = "" if value is None else _without_password(str(value))
    return shown


def _without_password(value: str) -> str:
    """`value` with what may be a password as `***`: between the name and the last `@` before a slash, or among the options."""
    value = re.sub(r"://([^/:@\s]*):[^/\s]*@", r"://\1:***@", value)
    return re.sub(r"([?&](?:ssl)?password=)[^&\s]*", r"\1***", value)


def _misspelt() -> list[Problem]:
    """Names in our own files that are no settings: in `chatkit.toml` any, in `.env` those that look like one of ours."""
    problems = []
    known = {name.upper() for name in Settings.model_fields}
    try:
        with TOML_FILE.open("rb") as file:
            in_toml = [name.upper() for name in tomllib.load(file)]
    except (OSError, tomllib.TOMLDecodeError):
        in_toml = []
    in_env = [name.upper() for name in DotEnvSettingsSource(Settings, env_file=ENV_FILE).env_vars]
    for name in in_toml + [name for name in in_env if difflib.get_close_matches(name, known, 1, 0.85)]:
        if name in known:
            continue
        close = difflib.get_close_matches(name, known, 1, 0.6)
        fix = f"Did you mean {close[0]}?" if close else "Remove it; `python -m server check` lists them all."
        problems.append(Problem(name, "is not a setting", fix))
    return problems


def _refused(error: ErrorDetails) -> Problem:
    """What pydantic found, without the value."""
    name = str(error["loc"][0])
    message = str(error["msg"]).removeprefix("Value error, ")
    field = Settings.model_fields.get(name.lower())
    examples = field.examples if field is not None else None
    takes = type_name(field) if field is not None else "text"
    fix = f"For example: {name.upper()}={examples[0]}" if examples else f"Takes: {takes}."
    return Problem(name.upper(), message, fix)
