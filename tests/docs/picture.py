"""Draw the README's picture anew, from the demo page in a real browser.

    python -m tests.docs.picture

It asks what the page suggests first, of a server that has ingested these documents.
"""

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.harness import ROOT, ServerProcess, needs, running

PICTURE = ROOT / "docs" / "images" / "demo.png"


def main() -> None:
    """Ask, wait for the answer, take the picture."""
    folder = Path(tempfile.mkdtemp())
    ServerProcess(folder).command("server", "ingest", str(ROOT / "README.md"), str(ROOT / "docs"))
    with running(folder) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=needs("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light")
        page.goto(server.url)
        page.locator("[data-test=suggestion]").first.click()
        page.locator("[data-test=answer][data-state=complete]").wait_for()
        # Room for the whole answer, its sources and its ID.
        page.locator("chatkit-widget").evaluate(
            "widget => widget.style.setProperty('--chatkit-max-height', 'none')"
        )
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=PICTURE, full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
