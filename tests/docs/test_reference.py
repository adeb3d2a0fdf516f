"""What the code can tell itself, the documents say as it does."""

import pytest

from server import routes
from tests.docs.reading import ROOT, headings
from tests.docs.reference import PARTS, told, written

METHODS = {"GET", "POST", "PATCH", "DELETE"}


@pytest.mark.parametrize("name", PARTS)
def test_the_documents_say_what_the_code_does(name: str) -> None:
    assert written(name) == told(name), "python -m tests.docs.reference writes it anew"


def test_every_route_of_the_api_has_its_section() -> None:
    sections = {text for _, text in headings(ROOT / "docs" / "API.md")}
    of_programs = {
        f"{route.method} {route.path}"
        for route in routes.table(test_mode=True)
        if route.path != "/" and not route.path.startswith(("/page/", "/widget/"))
    }
    assert of_programs == {section for section in sections if section.split(" /")[0] in METHODS}
