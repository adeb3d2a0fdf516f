"""What the project takes from the system rather than from a package index.

    python tests/system.py venv PATH    make a virtual environment, installing Debian's python3-venv if that is missing
    python tests/system.py install      install the programs that the tests start, or say what to install

Runs before anything is installed, so it stands on the standard library alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple


class Program(NamedTuple):
    """A program that tests start, the Debian package it is in, and the tests that need it.

    One that is `unpacked` is not installed: Debian lets a machine have one system log daemon, and the tests must neither
    replace nor start it. Its package is unpacked below `var/`, and runs from there.
    """

    command: str
    package: str
    tests: str
    unpacked: bool = False


PROGRAMS = (
    Program("chattr", "e2fsprogs", "tests/faults"),
    Program("chromium", "chromium", "tests/browser"),
    Program("curl", "curl", "tests/docs"),
    Program("fsfreeze", "util-linux", "tests/faults"),
    Program("jq", "jq", "tests/docs"),
    Program("mkfs.ext4", "e2fsprogs", "tests/faults"),
    Program("mount", "mount", "tests/faults"),
    Program("initdb", "postgresql", "tests/contract, tests/server/store"),
    Program("postgres", "postgresql", "tests/contract, tests/server/store"),
    Program("openssl", "openssl", "tests/server/mail"),
    Program("prlimit", "util-linux", "tests/faults"),
    Program("prometheus", "prometheus", "tests/server/operations/test_prometheus.py"),
    Program("promtool", "prometheus", "tests/server/operations/test_prometheus.py"),
    Program("psql", "postgresql-client", "tests/docs"),
    Program(
        "redis-server", "redis-server", "tests/contract/test_limiter.py, tests/server/limits, tests/docs"
    ),
    Program("rsyslogd", "rsyslog", "tests/shippers", unpacked=True),
    Program("setpriv", "util-linux", "tests/faults, tests/contract, tests/server/store"),
    Program("strace", "strace", "tests/faults, tests/pipeline/test_keeper.py"),
    Program("syslog-ng", "syslog-ng-core", "tests/shippers", unpacked=True),
)
UNPACKED = Path(__file__).parents[1] / "var" / "system"
"""Holds a folder for each package that is unpacked."""
POSTGRESQL = Path("/usr/lib/postgresql")
"""Where Debian puts the programs of PostgreSQL, a folder for each version, as several may be there; none is on PATH."""

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


def which(command: str) -> str | None:
    """Where the program is, or None; one that belongs to the machine goes before an unpacked one."""
    beside = [*POSTGRESQL.glob(f"*/bin/{command}"), *UNPACKED.glob(f"*/usr/sbin/{command}")]
    return shutil.which(command) or next(map(str, beside), None)


def missing() -> list[Program]:
    """The programs that are not on this machine, in the order above."""
    return [program for program in PROGRAMS if which(program.command) is None]


def can_install() -> bool:
    """Whether this is Debian (or a child of it) and we may install packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def apt_install(packages: list[str]) -> None:
    """Install Debian packages without questions. Raises ``CalledProcessError``."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *command], env=environment, check=True, stdout=subprocess.DEVNULL)


def libraries(package: str) -> list[str]:
    """What a Debian package needs beside itself; of alternatives the first. Raises ``CalledProcessError``."""
    only = [
        f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    ]
    told = subprocess.run(
        ["apt-cache", "depends", *only, package], check=True, capture_output=True, text=True
    )
    found, alternative = [], False
    for line in told.stdout.splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind.endswith("Depends"):
            found += [] if alternative else [name]
            alternative = kind.startswith("|")
    return found


def unpack(package: str) -> None:
    """Put the files of a Debian package below `var/`, whole or not at all; nothing of it is started.

    Raises ``CalledProcessError``.
    """
    UNPACKED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=UNPACKED) as folder:
        subprocess.run(
            ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", package], cwd=folder, check=True
        )
        for file in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg", "-x", file.name, "files"], cwd=folder, check=True)
        shutil.rmtree(UNPACKED / package, ignore_errors=True)
        (Path(folder) / "files").rename(UNPACKED / package)


def make_venv(path: str) -> None:
    """`python -m venv PATH`; Debian keeps a part of that module in a package of its own."""
    command = [sys.executable, "-m", "venv", path]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return
    shutil.rmtree(path, ignore_errors=True)
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    if not can_install():
        sys.exit(f"This Python cannot make virtual environments. Install it: sudo apt-get install {package}")
    apt_install([package])
    subprocess.run(command, check=True)


def install() -> None:
    """Bring the missing programs in, or say which tests will be left out for want of them."""
    wanted = missing()
    if not wanted:
        return
    packages = sorted({program.package for program in wanted})
    if can_install():
        print(f"Installing for the tests: {' '.join(packages)}", flush=True)
        beside = sorted({program.package for program in wanted if program.unpacked})
        apt_install([package for package in packages if package not in beside])
        # After the first: only then does apt know what there is.
        apt_install([library for package in beside for library in libraries(package)])
        for package in beside:
            unpack(package)
        wanted = missing()
    if not wanted:
        return
    for program in wanted:
        print(f"Not on this machine: {program.command}. Left out: {program.tests}", file=sys.stderr)
    print(f"To run them too: sudo {sys.executable} tests/system.py install", file=sys.stderr)
    if IN_CI:
        sys.exit("CI=true: nothing may be left out.")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["venv", path]:
            make_venv(path)
        case ["install"]:
            install()
        case _:
            sys.exit(__doc__)
