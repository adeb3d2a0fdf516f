"""Test inputs that nobody here wrote, read where they lie beside the project and never copied into it."""

import json
import os
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "shared" / "data"
IN_CI = os.environ.get("CI", "").lower() in {"1", "true"}


def shared_data(name: str) -> Path:
    """The file or folder `name` of the shared inputs; without them the test is left out and says so, in CI it fails."""
    path = FOLDER / name
    if not path.exists():
        message = f"the shared test inputs are not beside this clone: {name}"
        if IN_CI:
            pytest.fail(message)
        pytest.skip(message)
    return path


def naughty_strings() -> list[str]:
    """Strings that break programs."""
    strings = json.loads(shared_data("naughty-strings.json").read_text())
    assert len(strings) > 400
    return [str(text) for text in strings]
