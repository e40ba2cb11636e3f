"""Pages in a real browser, without a window: Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

# These tests use what those one folder up share.
sys.path.insert(0, str(Path(__file__).parents[1]))

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
DESKTOP, PHONE = (1280, 900), (375, 800)
"""Width and height of a window, in CSS pixels."""


@dataclass(frozen=True)
class Opened:
    """A page in a browser, and everything that went wrong in it."""

    page: Page
    errors: list[str]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.fail("there is no Chromium: install it (Debian: apt-get install chromium), or name it in CHROMIUM")
    with sync_playwright() as playwright:
        # The sandbox of Chromium refuses to run for root, as whom containers run; the pages are our own.
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Browser, path: Path, size: tuple[int, int] = DESKTOP, **options: object) -> Iterator[Opened]:
    """A page from a file, as by a double click. What it says in the console or asks a network for is an error."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page, errors = context.new_page(), []
    page.on("console", lambda said: said.type in ("error", "warning") and errors.append(said.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or errors.append(asked.url))
    page.goto(path.as_uri())
    try:
        yield Opened(page, errors)
    finally:
        context.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages that must end the test without an error in their console."""
    with ExitStack() as stack:
        pages = []

        def open_(path: Path, size: tuple[int, int] = DESKTOP, **options: object) -> Page:
            pages.append(stack.enter_context(opened(browser, path, size, **options)))
            return pages[-1].page

        yield open_
        for page in pages:
            assert page.errors == []
