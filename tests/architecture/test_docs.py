"""The pages say what is there: routes, settings, links, and the files that they name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.urls import URLPattern, get_resolver

from tests import promises

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGES.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
TREE = [
    f"/{file.relative_to(ROOT)}"
    for folder in ("platform", "tenants", "scheduler", "infra", "tests", "docs", "deploy", ".")
    for file in ((ROOT / folder).rglob("*") if folder != "." else ROOT.glob("*"))
]


def routes() -> dict[str, str]:
    """Route below /api/v1, as the table writes it -> the file of its view."""
    found = {}
    for path, pattern in walk(get_resolver().url_patterns):
        if path.startswith("api/v1/"):
            view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", pattern.callback)
            short = re.sub(r"<uuid:\w+>", "...", path.removeprefix("api/v1/")).removesuffix("/...")
            found[short] = view.__module__.replace(".", "/") + ".py"
    return found


def walk(patterns: list, prefix: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield path, pattern
        else:
            yield from walk(pattern.url_patterns, path)


def test_the_table_of_routes_is_the_url_configuration():
    section = (ROOT / "ARCHITECTURE.md").read_text().partition("## Routes and their files")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \| (\S+\.py) \|$", section, re.MULTILINE)
    told = {route: file for cell, file in rows for route in cell.split()}
    assert told == routes()


def test_every_setting_has_its_line_and_no_other():
    read = set(re.findall(r'(?:env|flag|secret)\("(FACET_\w+)"', (ROOT / "platform/facet/settings.py").read_text()))
    table = re.findall(r"^\| (`FACET_.*?) \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    assert {name for cell in table for name in re.findall(r"`(FACET_\w+)`", cell)} == read


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_is_there(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_files_that_a_page_names_are_there(page):
    if page == promises.PAGE:
        return  # open promises name tests that are still to come; test_promises.py looks after it
    named = re.findall(r"`([\w./-]+\.(?:py|md|sh|yml|lock))(?::\w+)?`", page.read_text())
    assert not [name for name in named if not any(there.endswith(f"/{name}") for there in TREE)]


def test_every_make_target_of_the_pages_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(), re.MULTILINE):
            assert target in targets, f"{page.name}: make {target}"
