"""What the project takes from the system rather than from a package index.

    python tests/system.py venv PATH    make a virtual environment, installing Debian's python3-venv if that is missing
    python tests/system.py install      install the programs that the tests start, or say what to install

Runs before anything is installed, so it stands on the standard library alone.
"""

import os
import shutil
import subprocess
import sys
from typing import NamedTuple


class Program(NamedTuple):
    """A program that tests start, the Debian package it is in, and the tests that need it."""

    command: str
    package: str
    tests: str


PROGRAMS = (
    Program("chromium", "chromium", "tests/browser"),
    Program("curl", "curl", "tests/docs"),
    Program("jq", "jq", "tests/docs"),
    Program("prometheus", "prometheus", "tests/server/operations/test_prometheus.py"),
    Program("promtool", "prometheus", "tests/server/operations/test_prometheus.py"),
)

IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


def which(command: str) -> str | None:
    """Where the program is, or None."""
    return shutil.which(command)


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
        apt_install(packages)
        wanted = missing()
    if not wanted:
        return
    for program in wanted:
        print(f"Not on this machine: {program.command}. Left out: {program.tests}", file=sys.stderr)
    print(f"To run them too: sudo apt-get install {' '.join(packages)}", file=sys.stderr)
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
