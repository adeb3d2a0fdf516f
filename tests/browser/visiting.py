"""What a visitor does on a page with the widget."""

from playwright.sync_api import Locator, Page


def part(page: Page, name: str) -> Locator:
    """What the widget calls `name`, see its README."""
    return page.locator(f"[data-test={name}]")


def ask(page: Page, question: str) -> None:
    """Type `question`, and send it."""
    part(page, "question").fill(question)
    part(page, "send").click()
