"""The console in a real browser, light and dark, wide and as wide as a phone. Screenshots lie in screenshots/."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from facet.wsgi import application
from tests import factories, landscape

CHROMIUM = Path("/usr/bin/chromium")
SHOTS = Path(__file__).resolve().parents[2] / "screenshots"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium: apt-get install chromium"),
]


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def url(database) -> Iterator[str]:
    with make_server("127.0.0.1", 0, application, Threads, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def world(database):
    factories.person("admin", "platform-admin")
    acme = factories.office("acme")
    zone = landscape.site()
    shop = landscape.cluster(acme.project, zone, "shop")
    landscape.operation(shop)
    seen = {"field": "memory_mib", "wanted": 4096, "seen": 8192, "since": "2026-01-01T00:00:00+00:00"}
    landscape.machine(acme.project, zone, "builder", drift=[seen], address="127.44.2.90")
    tools = landscape.cluster(acme.project, zone, "tools", ready=False, workers=2)
    landscape.operation(tools, "running")
    detail = "There is no room in az1 for 1 of 3 machines: 4 hosts lack memory."
    failed = landscape.operation(shop, "failed", problem={"code": "no_room", "detail": detail})
    return {"shop": shop, "tools": tools, "failed": failed, "site": zone.site, "tenant": acme.tenant}


@pytest.fixture(scope="module", autouse=True)
def browser() -> Iterator[Browser]:
    """Playwright keeps an event loop in this thread, which Django would take for asynchronous code."""
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as driver:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        started = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def faults() -> list[str]:
    """What the browser complained about: scripts that the policy refused, files that were not found."""
    return []


def opened(browser: Browser, faults: list[str], **options) -> Page:
    page = browser.new_context(**options).new_page()
    page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    return page


def log_in(page: Page, url: str, name: str) -> None:
    page.goto(url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(factories.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Overview").wait_for()


def fits(page: Page) -> bool:
    """Nothing makes the page itself scroll sideways."""
    return page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("name", ["admin", "acme-editor"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_people_log_in_and_find_their_cluster(url, world, browser, faults, name, scheme, size):
    page = opened(browser, faults, viewport=size, color_scheme=scheme)
    shots = f"{name}-{scheme}-{'phone' if size is PHONE else 'wide'}"
    page.goto(url)
    page.screenshot(path=SHOTS / f"login-{shots}.png", full_page=True)
    log_in(page, url, name)
    assert fits(page)
    page.screenshot(path=SHOTS / f"home-{shots}.png", full_page=True)
    page.get_by_role("link", name="shop").click()
    page.get_by_role("heading", name="shop").wait_for()
    assert page.get_by_text("facet cluster kubeconfig shop --project acme/web").is_visible()
    assert page.get_by_text("simulated", exact=True).first.is_visible()
    assert fits(page)
    page.screenshot(path=SHOTS / f"cluster-{shots}.png", full_page=True)
    for path in (f"/projects/{world['shop'].project_id}", f"/operations/{world['failed'].id}", "/operations"):
        page.goto(url + path)
        assert fits(page)
        page.screenshot(path=SHOTS / f"{path.split('/')[1]}-{path.count('/')}-{shots}.png", full_page=True)
    if name == "admin":
        for path in (f"/sites/{world['site'].id}", f"/tenants/{world['tenant'].id}"):
            page.goto(url + path)
            assert fits(page)
            page.screenshot(path=SHOTS / f"{path.split('/')[1]}-{shots}.png", full_page=True)
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="Log in").wait_for()
    assert faults == []


def test_a_page_follows_what_is_under_way_by_itself(url, world, browser, faults):
    page = opened(browser, faults, viewport=WIDE)
    log_in(page, url, "acme-editor")
    page.get_by_role("link", name="tools").first.click()
    page.locator("h1 .phase", has_text="building").wait_for()
    page.locator("#up-project").focus()
    with factories.as_system():
        landscape.Cluster.objects.filter(pk=world["tools"].pk).update(phase="ready")
    page.locator("h1 .phase", has_text="ready").wait_for(timeout=10_000)
    assert page.evaluate("document.activeElement.id") == "up-project"
    assert faults == []


def test_the_session_ends_under_an_open_page(url, world, browser, faults):
    page = opened(browser, faults, viewport=WIDE)
    log_in(page, url, "acme-editor")
    page.context.clear_cookies()
    page.get_by_role("heading", name="Log in").wait_for(timeout=10_000)


def test_every_page_works_without_javascript(url, world, browser, faults):
    page = opened(browser, faults, viewport=WIDE, java_script_enabled=False)
    log_in(page, url, "acme-editor")
    page.get_by_role("link", name="shop").click()
    assert page.get_by_text("https://127.44.1.10:6443").is_visible()
    page.get_by_role("link", name="Operations", exact=True).click()
    page.get_by_role("link", name="Failed").click()
    assert page.get_by_text("There is no room in az1").is_visible()
    page.get_by_role("button", name="Log out").click()
    assert page.get_by_role("heading", name="Log in").is_visible()


def test_the_reference_of_the_api_opens(url, world, browser, faults):
    page = opened(browser, faults, viewport=WIDE)
    page.goto(f"{url}/api/docs")
    page.get_by_text("/api/v1/addons", exact=True).first.wait_for(timeout=20_000)  # of many, those that are in view
    assert not [fault for fault in faults if "Content Security Policy" in fault]
