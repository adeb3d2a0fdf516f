"""Settings come from three places in one order, and what is not fit to run with is refused before anything starts."""

import importlib.util
import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from server.parts import embedding_model
from server.settings import Settings, SettingsError, load, masked, table
from tests.harness import ROOT, ServerProcess

GOOD_KEY = "q8Zt3vYw0Lk5NnRb7HsXcD2eMfGaPjUiQ4xE6rTyW1o"
PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": GOOD_KEY,
    "DATABASE_URL": "sqlite+aiosqlite:///var/chatkit.db",
    "BASE_URL": "https://chat.example.com",
    "TRUSTED_PROXIES": "127.0.0.1",
}


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder and an empty environment."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Any:
    def give(**settings: str) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)

    return give


def refused() -> dict[str, str]:
    """Each refused setting and what is wrong with it."""
    with pytest.raises(SettingsError) as error:
        load()
    for problem in error.value.problems:
        assert problem.fix
    return {problem.setting: problem.problem for problem in error.value.problems}


def test_without_any_setting_it_is_development_on_this_machine() -> None:
    settings = load()
    assert (settings.environment, settings.host, settings.port) == ("development", "127.0.0.1", 8000)


def test_the_environment_wins_over_dotenv_and_that_over_the_file(nowhere: Path, given: Any) -> None:
    (nowhere / "config").mkdir()
    (nowhere / "config" / "chatkit.toml").write_text('port = 1001\nhost = "127.0.0.2"\nlog_level = "ERROR"\n')
    (nowhere / ".env").write_text("PORT=1002\nHOST=127.0.0.3\n")
    given(PORT="1003")
    settings = load()
    assert (settings.port, settings.host, settings.log_level) == (1003, "127.0.0.3", "ERROR")


def test_lists_may_be_written_by_comma_or_as_lists(nowhere: Path, given: Any) -> None:
    (nowhere / "config").mkdir()
    (nowhere / "config" / "chatkit.toml").write_text(
        'cors_origins = ["https://a.example", "https://b.example:8443"]\n'
    )
    assert load().cors_origins == ("https://a.example", "https://b.example:8443")
    given(CORS_ORIGINS=" https://c.example , https://d.example ")
    assert load().cors_origins == ("https://c.example", "https://d.example")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"), ("PORT", "70000"), ("PORT", "-1"), ("ENVIRONMENT", "staging"), ("LOG_LEVEL", "LOUD"),
        ("CORS_ORIGINS", "https://a.example/path"), ("CORS_ORIGINS", "*"), ("CORS_ORIGINS", "a.example"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"), ("TRUSTED_PROXIES", "proxy.internal"), ("BASE_URL", "chat.example.com"), ("BASE_URL", "https://u:hunter2pw@chat.example.com"), ("CORS_ORIGINS", "https://u:hunter2pw@a.example"),
        ("INTEGRATION_TEST_MODE", "perhaps"), ("LOG_RING_BYTES", "1"), ("SHUTDOWN_SECONDS", "0"),
        ("DATABASE_URL", "mysql://u:hunter2pw@db/chat"), ("DATABASE_URL", "postgresql+psycopg://u:hunter2pw@db/chat"),
        ("DATABASE_URL", "postgresql://u:hunter2pw@db"), ("DATABASE_URL", "postgresql://u:hunter2pw/2@db/chat"),
        ("DATABASE_URL", "postgresql://u:12/hunter2pw@db/chat"), ("DATABASE_URL", "postgresql://u:12#hunter2pw@db/chat"),
        ("DATABASE_URL", "postgresql://u:12?hunter2pw@db/chat"), ("DATABASE_URL", "sqlite:///chatkit.db"),
        ("DATABASE_URL", "sqlite+aiosqlite://chatkit.db"), ("DATABASE_POOL_SIZE", "0"), ("SECRET_KEY", "hunter2pw"),
        ("SMTP_HOST", "mail.example.com:25"), ("SMTP_HOST", "a b"), ("SMTP_HOST", "a\nb"), ("SMTP_PORT", "0"), ("SMTP_TLS", "yes"),
        ("FROM_EMAIL", "hunter2pw"), ("FROM_EMAIL", "ChatKit <chat@example.com>"), ("FROM_EMAIL", "chat@example.com\nBcc: a@example.com"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_named_with_a_fix_and_without_its_value(given: Any, name: str, value: str) -> None:
    given(**{name: value})
    with pytest.raises(SettingsError) as error:
        load()
    assert [problem.setting for problem in error.value.problems] == [name]
    assert "hunter2pw" not in str(error.value.problems)
    assert "hunter2pw" not in str(error.value)


def test_every_bad_setting_is_named_at_once(given: Any) -> None:
    given(ENVIRONMENT="production", PORT="x", LOG_LEVEL="LOUD")
    assert refused().keys() == {
        "PORT",
        "LOG_LEVEL",
        "SECRET_KEY",
        "DATABASE_URL",
        "BASE_URL",
        "TRUSTED_PROXIES",
    }


def test_production_with_all_it_needs_is_accepted(given: Any) -> None:
    given(**PRODUCTION)
    assert load().production


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "BASE_URL", "TRUSTED_PROXIES"])
def test_production_refuses_to_guess(given: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    given(**PRODUCTION)
    monkeypatch.delenv(name)
    assert refused().keys() == {name}


def test_production_refuses_plain_http_and_test_mode(given: Any) -> None:
    given(**PRODUCTION, INTEGRATION_TEST_MODE="true")
    given(BASE_URL="http://chat.example.com")
    assert refused().keys() == {"BASE_URL", "INTEGRATION_TEST_MODE"}


def test_production_refuses_to_count_apart_or_not_at_all(given: Any) -> None:
    given(**PRODUCTION, WORKERS="2")
    assert refused().keys() == {"REDIS_URL"}
    given(REDIS_URL="redis://127.0.0.1:6379/0")
    assert load().workers == 2
    given(RATE_LIMITS="false")
    assert refused().keys() == {"RATE_LIMITS"}
    given(ENVIRONMENT="development")
    assert not load().rate_limits


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1", "redis://:secret@redis.example.com:6380/2", "rediss://user:secret@redis.example.com",
        "valkey://localhost:6379", "valkeys://localhost", "unix:///run/redis.sock?db=1&password=secret",
    ],
)  # fmt: skip
def test_redis_is_named_by_an_address_whose_password_is_not_shown(given: Any, url: str) -> None:
    given(REDIS_URL=url)
    assert load().redis_url == url
    assert "secret" not in masked(load())["REDIS_URL"]


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://localhost", "redis://", "unix://", "redis:6379", "redis://host:http"]
)
def test_what_names_no_redis_is_refused(given: Any, url: str) -> None:
    given(REDIS_URL=url)
    assert "valkey://" in refused()["REDIS_URL"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "chat.example.com"])
def test_test_mode_is_refused_where_others_can_reach_it(given: Any, host: str) -> None:
    given(INTEGRATION_TEST_MODE="true", HOST=host)
    assert refused().keys() == {"INTEGRATION_TEST_MODE"}
    given(INTEGRATION_TEST_MODE="false")
    assert load().host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_test_mode_is_allowed_on_this_machine(given: Any, host: str) -> None:
    given(INTEGRATION_TEST_MODE="true", HOST=host)
    assert load().integration_test_mode


@pytest.mark.parametrize(
    "key",
    [
        "short", "a" * 64, "0123456789" * 5, "abcdefghijklmnopqrstuvwxyz0123456789", "ab" * 40, "changeme" * 6,
        "your-secret-key-change-in-production", "x9!k" * 12, f"{GOOD_KEY},short",
    ],
)  # fmt: skip
def test_a_key_that_can_be_guessed_is_refused(given: Any, key: str) -> None:
    given(SECRET_KEY=key)
    assert refused().keys() == {"SECRET_KEY"}


def test_random_keys_are_accepted_several_of_them_too(given: Any) -> None:
    for _ in range(2000):
        given(SECRET_KEY=f"{secrets.token_urlsafe(32)}, {secrets.token_hex(32)}")
        assert len(load().secret_keys) == 2


def test_a_misspelt_name_in_our_own_files_is_refused_with_the_right_one(nowhere: Path) -> None:
    (nowhere / "config").mkdir()
    (nowhere / "config" / "chatkit.toml").write_text("prot = 80\nunknown_thing = 1\n")
    (nowhere / ".env").write_text("LOG_LEVLE=DEBUG\nDOCKER_IMAGE=x\n")
    with pytest.raises(SettingsError) as error:
        load()
    assert {problem.setting: problem.fix for problem in error.value.problems} == {
        "PROT": "Did you mean PORT?",
        "UNKNOWN_THING": "Remove it; `python -m server check` lists them all.",
        "LOG_LEVLE": "Did you mean LOG_LEVEL?",
    }


def test_a_file_that_is_no_toml_is_refused_with_the_line(nowhere: Path) -> None:
    (nowhere / "config").mkdir()
    (nowhere / "config" / "chatkit.toml").write_text("port = \n")
    assert "line 1" in refused()["config/chatkit.toml"]


def test_what_is_shown_hides_secrets(given: Any) -> None:
    given(SECRET_KEY=GOOD_KEY)
    settings = load()
    assert masked(settings)["SECRET_KEY"] == "(set: 1)"
    assert GOOD_KEY not in json.dumps(masked(settings))
    assert GOOD_KEY not in repr(settings)
    assert list(masked(settings)) == [name for name, *_ in table()]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2pw@db.internal/chat",
        "postgres://u:hunter2pw@db.internal:5433/chat?sslmode=require",
        "postgresql+asyncpg://u:hunter2pw@db.internal/chat",
        "postgresql://u:a@hunter2pw@db.internal/chat",
        "postgresql://u@db.internal/chat?password=hunter2pw",
        "postgresql://db.internal/chat?sslpassword=hunter2pw&user=u",
        "postgresql://u:hunter2pw@[::1]:5432/chat",
        "postgresql://u:hunter2pw@/chat?host=/run/postgresql",
        "postgresql://u:hunter2pw@one.internal:5432,two.internal:5433/chat?target_session_attrs=read-write",
    ],
)
def test_every_form_of_a_postgresql_address_is_accepted_and_its_password_never_shown(
    given: Any, url: str
) -> None:
    given(DATABASE_URL=url)
    settings = load()
    shown = masked(settings)["DATABASE_URL"]
    assert settings.database_url == url
    assert "hunter2pw" not in shown
    assert "***" in shown
    assert "/chat" in shown
    assert "hunter2pw" not in repr(settings)


def test_postgresql_without_its_driver_is_refused_with_the_command_that_installs_it(
    given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "asyncpg" else found(name))
    given(DATABASE_URL="postgresql://u:hunter2pw@db.internal/chat")
    with pytest.raises(SettingsError) as error:
        load()
    (problem,) = error.value.problems
    assert problem.setting == "DATABASE_URL"
    assert "make extras" in problem.fix


MODEL = {"LLM_BASE_URL": "https://api.example.com/v1/", "LLM_MODEL": "m"}


def test_a_language_model_is_an_address_and_a_name(given: Any) -> None:
    given(LLM_BASE_URL=MODEL["LLM_BASE_URL"])
    assert refused().keys() == {"LLM_MODEL"}
    given(LLM_MODEL=" ")
    assert refused().keys() == {"LLM_MODEL"}
    given(LLM_MODEL="m")
    assert load().llm_base_url == "https://api.example.com/v1"


def test_a_model_without_an_address_is_refused(given: Any) -> None:
    given(LLM_MODEL="m")
    assert refused().keys() == {"LLM_BASE_URL"}


@pytest.mark.parametrize("key", ["sk-hunter2pw\nX-Other: 1", "sk hunter2pw", "sk-hunter2pw-\u00e9"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(given: Any, key: str) -> None:
    given(**MODEL, LLM_API_KEY=key)
    with pytest.raises(SettingsError) as error:
        load()
    assert [problem.setting for problem in error.value.problems] == ["LLM_API_KEY"]
    assert "hunter2pw" not in str(error.value.problems)


@pytest.mark.parametrize("host", ["api.example.com", "8.8.8.8", "[2001:4860:4860::8888]"])
def test_production_refuses_to_send_questions_in_the_clear_to_another_network(given: Any, host: str) -> None:
    given(**MODEL | {"LLM_BASE_URL": f"http://{host}:11434/v1"})
    assert load().llm_model == "m"
    given(**PRODUCTION)
    assert refused().keys() == {"LLM_BASE_URL"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "localhost", "10.1.2.3", "192.168.0.9", "ollama", "gpu.internal"]
)
def test_production_allows_plain_http_to_a_model_of_ones_own(given: Any, host: str) -> None:
    given(**PRODUCTION, **MODEL | {"LLM_BASE_URL": f"http://{host}:11434/v1"})
    assert load().llm_base_url == f"http://{host}:11434/v1"


def test_the_models_key_is_hidden_and_counts_for_the_hash(given: Any) -> None:
    given(**MODEL, LLM_API_KEY="sk-hunter2pw")
    settings = load()
    assert masked(settings)["LLM_API_KEY"] == "(set)"
    assert "hunter2pw" not in json.dumps(masked(settings)) + repr(settings)
    given(LLM_API_KEY="")
    assert (load().llm_api_key, masked(load())["LLM_API_KEY"]) == (None, "")
    given(LLM_API_KEY="sk-other")
    assert load().fingerprint != settings.fingerprint


EMBEDDING = {"EMBEDDING_MODEL": "m", "EMBEDDING_BASE_URL": "https://embed.example.com/v1/"}


def test_a_model_that_embeds_is_a_name_and_an_address_its_own_or_the_language_models(given: Any) -> None:
    given(EMBEDDING_MODEL="m")
    assert refused().keys() == {"EMBEDDING_BASE_URL"}
    given(**MODEL)
    assert load().embedding_url == "https://api.example.com/v1"
    given(**EMBEDDING)
    assert load().embedding_url == "https://embed.example.com/v1"
    given(EMBEDDING_MODEL=" ")
    assert refused().keys() == {"EMBEDDING_MODEL"}


def test_without_a_model_that_embeds_there_is_none_whatever_else_is_set(given: Any) -> None:
    given(**MODEL, EMBEDDING_API_KEY="sk-key")
    assert load().embedding_url is None
    assert embedding_model(load()) is None


def test_a_model_that_embeds_without_its_package_is_refused_with_the_command_that_installs_it(
    given: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numpy" else found(name))
    assert load().embedding_url is None
    given(**EMBEDDING)
    with pytest.raises(SettingsError) as error:
        load()
    (problem,) = error.value.problems
    assert problem == (
        "EMBEDDING_MODEL",
        "is set, and numpy is not installed",
        "Run: make extras",
    )


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, ""),
        ({"EMBEDDING_API_KEY": "sk-own"}, "sk-own"),
        (MODEL | {"LLM_API_KEY": "sk-llm"}, ""),
        (MODEL | {"LLM_API_KEY": "sk-llm", "EMBEDDING_API_KEY": "sk-own"}, "sk-own"),
        (MODEL | {"LLM_API_KEY": "sk-llm", "EMBEDDING_BASE_URL": ""}, "sk-llm"),
        (MODEL | {"LLM_API_KEY": "sk-llm", "EMBEDDING_BASE_URL": "https://api.example.com/v1"}, "sk-llm"),
        (MODEL | {"LLM_API_KEY": "sk-llm", "EMBEDDING_BASE_URL": "https://api.example.com.evil/v1"}, ""),
    ],
)
def test_the_language_models_key_goes_nowhere_but_to_its_own_address(
    given: Any, settings: dict[str, str], key: str
) -> None:
    given(**{name: value for name, value in (EMBEDDING | settings).items() if value})
    embeddings = embedding_model(load())
    assert embeddings is not None
    assert embeddings.model.api_key == key
    assert "sk-" not in repr(embeddings.model) + json.dumps(masked(load()))


def test_production_refuses_to_send_questions_in_the_clear_to_be_embedded(given: Any) -> None:
    given(**PRODUCTION, **EMBEDDING | {"EMBEDDING_BASE_URL": "http://embed.example.com/v1"})
    assert refused().keys() == {"EMBEDDING_BASE_URL"}
    given(EMBEDDING_BASE_URL="http://ollama:11434/v1")
    assert load().embedding_model == "m"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EMBEDDING_SIMILARITY", "1"),
        ("EMBEDDING_SIMILARITY", "-0.1"),
        ("EMBEDDING_TIMEOUT_SECONDS", "0"),
        ("EMBEDDING_BASE_URL", "embed.example.com"),
        ("EMBEDDING_API_KEY", "sk hunter2pw"),
    ],
)
def test_a_setting_of_embeddings_that_makes_no_sense_is_refused(given: Any, name: str, value: str) -> None:
    given(**EMBEDDING | {name: value})
    assert name in refused()


def test_the_hash_of_the_settings_changes_with_any_of_them(given: Any) -> None:
    seen = {load().fingerprint}
    for name, value in {"PORT": "81", "SECRET_KEY": GOOD_KEY, "CORS_ORIGINS": "https://a.example"}.items():
        given(**{name: value})
        seen.add(load().fingerprint)
    assert len(seen) == 4
    assert load().fingerprint == load().fingerprint


def test_the_example_file_names_every_setting_with_its_help_and_its_default(nowhere: Path) -> None:
    lines = (ROOT / "config" / "chatkit.example.toml").read_text().splitlines()
    said = " ".join(line.removeprefix("# ") for line in lines)
    assigned = {
        line.removeprefix("# ").partition(" = ")[0]: line.removeprefix("# ")
        for line in lines
        if " = " in line
    }
    assert list(assigned) == list(Settings.model_fields)
    assert [text for *_, text in table() if text not in said] == []
    defaults = Settings()
    for name, line in assigned.items():
        if Settings.model_fields[name].default not in {None, ()}:
            (nowhere / "config").mkdir(exist_ok=True)
            (nowhere / "config" / "chatkit.toml").write_text(line)
            assert getattr(load(), name) == getattr(defaults, name)


MAIL = {"SMTP_HOST": "smtp.example.com", "FROM_EMAIL": "chat@example.com"}
LOGIN = {"SMTP_USER": "chat", "SMTP_PASSWORD": "hunter2pw"}


@pytest.mark.parametrize("settings", [{}, LOGIN, {"SMTP_TLS": "none"}, LOGIN | {"SMTP_TLS": "tls"}])
def test_a_mail_server_with_and_without_a_log_in_is_accepted(given: Any, settings: dict[str, str]) -> None:
    given(**MAIL, **settings)
    assert load().from_email == "chat@example.com"


@pytest.mark.parametrize(
    ("settings", "lacking"),
    [
        ({"SMTP_HOST": "smtp.example.com"}, "FROM_EMAIL"),
        (MAIL | {"SMTP_USER": "chat"}, "SMTP_PASSWORD"),
        (MAIL | {"SMTP_PASSWORD": "hunter2pw"}, "SMTP_USER"),
        (MAIL | LOGIN | {"SMTP_TLS": "none"}, "SMTP_TLS"),
    ],
)
def test_half_a_mail_server_and_a_password_in_the_clear_are_refused(
    given: Any, settings: dict[str, str], lacking: str
) -> None:
    given(**settings)
    problems = refused()
    assert problems.keys() == {lacking}
    assert "hunter2pw" not in str(problems)


@pytest.mark.parametrize(("port", "security"), [("587", "starttls"), ("25", "starttls"), ("465", "tls")])
def test_how_mail_is_encrypted_follows_from_the_port_unless_it_is_said(
    given: Any, port: str, security: str
) -> None:
    given(SMTP_PORT=port)
    assert load().smtp_security == security
    given(SMTP_TLS="none")
    assert load().smtp_security == "none"


def test_the_mail_servers_password_is_masked_and_counts_as_a_change(given: Any) -> None:
    given(**MAIL, **LOGIN)
    before = load()
    assert masked(before)["SMTP_PASSWORD"] == "(set)"
    assert "hunter2pw" not in str(before)
    given(SMTP_PASSWORD="hunter3pw")
    assert load().fingerprint != before.fingerprint


def test_every_setting_has_help() -> None:
    assert all(len(text) > 15 for _, _, _, text in table())


def test_the_server_refuses_with_one_event_on_standard_error_and_status_78(nowhere: Path) -> None:
    server = ServerProcess(
        nowhere, ENVIRONMENT="production", SECRET_KEY="hunter2pw", INTEGRATION_TEST_MODE="false"
    )
    for command in (
        ["server"],
        ["server", "serve"],
        ["server", "check"],
        ["server", "migrate"],
        ["server", "ingest", "x"],
    ):
        done = server.command(*command)
        assert done.returncode == 78
        assert done.stdout == b""
        (line,) = done.stderr.splitlines()
        event = json.loads(line)
        assert (event["event"], event["level"]) == ("settings_refused", "ERROR")
        assert {problem["setting"] for problem in event["problems"]} == {
            "SECRET_KEY", "DATABASE_URL", "BASE_URL", "TRUSTED_PROXIES",
        }  # fmt: skip
        assert all(problem["fix"] for problem in event["problems"])
        assert b"hunter2pw" not in done.stderr
    assert list(nowhere.iterdir()) == []


def test_check_shows_what_is_in_force(nowhere: Path) -> None:
    server = ServerProcess(nowhere, PORT="8123", SECRET_KEY=GOOD_KEY)
    done = server.command("server", "check")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["PORT"], told["SECRET_KEY"], told["ENVIRONMENT"]) == ("8123", "(set: 1)", "development")
    assert GOOD_KEY.encode() not in done.stdout + done.stderr


OAUTH = {
    "GOOGLE": {"CLIENT_ID": "id", "CLIENT_SECRET": "hunter2pw"},
    "MICROSOFT": {"CLIENT_ID": "id", "CLIENT_SECRET": "hunter2pw"},
    "GITHUB": {"CLIENT_ID": "id", "CLIENT_SECRET": "hunter2pw"},
    "OIDC": {"ISSUER": "https://login.example/", "CLIENT_ID": "id", "CLIENT_SECRET": "hunter2pw"},
}


@pytest.mark.parametrize(
    ("provider", "part"), [(name, part) for name, parts in OAUTH.items() for part in parts]
)
def test_an_identity_provider_is_set_up_whole_or_not_at_all(
    given: Any, monkeypatch: pytest.MonkeyPatch, provider: str, part: str
) -> None:
    given(**{f"OAUTH_{provider}_{name}": value for name, value in OAUTH[provider].items()})
    settings = load()
    assert "hunter2pw" not in repr(settings) + json.dumps(masked(settings))
    monkeypatch.delenv(f"OAUTH_{provider}_{part}")
    assert refused().keys() == {f"OAUTH_{provider}_{part}"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OAUTH_OIDC_ISSUER", "http://login.example"), ("OAUTH_OIDC_ISSUER", "http://127.0.0.1.evil.example"), ("OAUTH_OIDC_ISSUER", "login.example"), ("OAUTH_OIDC_ISSUER", "https://u:hunter2pw@login.example"),
        ("OAUTH_GITHUB_URL", "http://git.example"), ("OAUTH_GITHUB_URL", "ftp://git.example"), ("OAUTH_MICROSOFT_TENANT", "a/../b"), ("OAUTH_MICROSOFT_TENANT", ""),
        ("OAUTH_OIDC_EMAIL_DOMAINS", "*"), ("OAUTH_OIDC_EMAIL_DOMAINS", "@example.com"), ("OAUTH_OIDC_EMAIL_DOMAINS", "com"),
    ],
)  # fmt: skip
def test_an_identity_provider_that_cannot_be_trusted_is_refused(given: Any, name: str, value: str) -> None:
    given(**{f"OAUTH_OIDC_{part}": text for part, text in OAUTH["OIDC"].items()} | {name: value})
    assert refused().keys() == {name}


def test_an_identity_provider_in_the_clear_is_for_this_machine_and_not_for_production(given: Any) -> None:
    given(**{f"OAUTH_OIDC_{part}": text for part, text in OAUTH["OIDC"].items()})
    given(OAUTH_OIDC_ISSUER="http://127.0.0.1:9000/", OAUTH_GITHUB_URL="http://localhost:9001/")
    settings = load()
    # The issuer is compared to the letter, its slash included.
    assert (settings.oauth_oidc_issuer, settings.oauth_github_url) == (
        "http://127.0.0.1:9000/",
        "http://localhost:9001",
    )
    given(**PRODUCTION)
    assert refused().keys() == {"OAUTH_OIDC_ISSUER", "OAUTH_GITHUB_URL"}


def test_the_hash_of_the_settings_changes_with_a_secret_of_a_provider(given: Any) -> None:
    given(OAUTH_GOOGLE_CLIENT_ID="id", OAUTH_GOOGLE_CLIENT_SECRET="one")
    before = load().fingerprint
    given(OAUTH_GOOGLE_CLIENT_SECRET="two")
    assert load().fingerprint != before
