"""ChatKit's server: answers a site's visitors from the site's own documents, and tells what it did."""

from importlib.metadata import PackageNotFoundError, version


def _version() -> str:
    """The version of the package, installed or run from its folder (where `pyproject.toml` says it)."""
    try:
        return version("chatkit")
    except PackageNotFoundError:
        import tomllib
        from pathlib import Path

        with (Path(__file__).parent.parent / "pyproject.toml").open("rb") as file:
            return str(tomllib.load(file)["project"]["version"])


VERSION = _version()
