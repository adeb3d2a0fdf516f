"""The package that is built is whole: it serves the widget and migrates its database without the clone beside it."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from server import VERSION
from tests.harness import ROOT, ServerProcess, clean_environment, exchange, request_bytes


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents, in a folder of their own."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(build, check=True, env=clean_environment(), capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_two_packages_and_nothing_of_the_workshop(unpacked: Path) -> None:
    assert {path.name for path in unpacked.iterdir()} == {
        "server",
        "pipeline",
        f"chatkit-{VERSION}.dist-info",
    }
    assert (unpacked / "server" / "static" / "widget" / "chatkit.js").stat().st_size > 10_000


def pinned(name: str) -> set[str]:
    """Every package of a file of requirements, with its version."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    return {line.split(" ")[0] for line in lines if re.match(r"[a-z0-9-]+==", line)}


def test_what_make_extras_installs_is_every_extra_in_the_versions_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        re.split("[<>=~]", one)[0] for extra in project["optional-dependencies"].values() for one in extra
    }
    assert wanted == {"asyncpg", "numpy", "redis"}
    extras = pinned("extras")
    assert wanted <= {one.split("==")[0] for one in extras}
    assert pinned("run") < extras < pinned("dev")


def test_a_server_from_the_wheel_starts_serves_and_names_its_version(unpacked: Path, tmp_path: Path) -> None:
    class FromTheWheel(ServerProcess):
        pythonpath = str(unpacked)

    server = FromTheWheel(tmp_path).start()
    try:
        assert exchange(server.address, request_bytes("GET", "/widget/chatkit.js")).status == 200
        assert exchange(server.address, request_bytes("GET", "/")).status == 200
        told = exchange(server.address, request_bytes("GET", "/metrics")).json()
        assert told["server"]["version"] == VERSION
        exchange(server.address, request_bytes("GET", "/test/faults/exception", {"X-Request-ID": "wheel-1"}))
        (bug,) = server.wait_for("unhandled_exception", request_id="wheel-1")
        assert bug["frames"][-1]["ours"]
        assert server.stop() == 0
    finally:
        server.kill()
