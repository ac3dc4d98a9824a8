"""The driver's own side: what goes wrong on the way, many threads, and what it never tells."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from infra.drivers import factory
from infra.drivers.base import Power, Refused, Unreachable, VmFacts
from tests.contract import simulator_site


@pytest.fixture
def stranger():
    """Something that speaks HTTP and is no simulator."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


def test_something_that_is_no_simulator_is_unreachable(site, stranger):
    driver = factory.connect(replace(site.connection, endpoint=stranger))
    with pytest.raises(Unreachable) as unreachable:
        driver.check()
    assert "does not answer like a simulator" in unreachable.value.reason
    driver.close()


def test_a_closed_driver_says_so(site):
    driver = factory.connect(site.connection)
    driver.check()
    driver.close()
    driver.close()
    with pytest.raises(Unreachable) as unreachable:
        driver.inventory()
    assert unreachable.value.code == "session_lost"


def test_an_endpoint_that_cannot_be_is_refused(site):
    driver = factory.connect(replace(site.connection, endpoint="ftp://127.0.0.1/"))
    with pytest.raises(Refused) as refused:
        driver.check()
    assert refused.value.code == "invalid"
    with pytest.raises(Refused) as certificate:
        factory.connect(replace(site.connection, endpoint="https://127.0.0.1:1", ca_pem="no PEM"))
    assert certificate.value.code == "bad_certificate"


def test_a_proxy_of_the_environment_is_not_asked(site, stranger, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, stranger)
    driver = factory.connect(site.connection)
    assert driver.check().simulated
    driver.close()


def test_eight_workers_share_one_driver(site, room, driver):
    specs = [room.spec() for _ in range(48)]
    slices = [specs[start : start + 4] for start in range(0, len(specs), 4)]

    def life(part):
        made = dict(driver.ensure_vms(part))
        driver.ensure_boot_data({spec.key: "#cloud-config\n{}\n" for spec in part})
        return made | dict(driver.ensure_power({spec.key: Power.ON for spec in part}))

    with ThreadPoolExecutor(8) as workers:
        outcomes = [one for part in workers.map(life, slices) for one in part.values()]
    assert {type(outcome) for outcome in outcomes} == {VmFacts}
    assert site.by_hand.vm_names(room.folder_ref) == sorted(spec.name for spec in specs)
    addresses = [vm.address for vm in driver.find_vms([spec.key for spec in specs]).values() if vm.address]
    assert len(set(addresses)) == len(addresses)


def test_no_log_holds_the_password_or_boot_data(site, room, driver, caplog):
    caplog.set_level(logging.DEBUG)
    secret = "AKEYTHATNOBODYMAYREAD"
    vm = room.vm()
    driver.ensure_boot_data({vm.key: f"#cloud-config\n# {secret}\n"})
    with pytest.raises(Unreachable) as unreachable:
        factory.connect(replace(site.connection, endpoint="http://127.0.0.1:1")).ensure_boot_data({vm.key: secret})
    told = caplog.text + str(unreachable.value) + repr(driver.__dict__)
    assert "127.0.0.1" in told
    assert secret not in told
    assert simulator_site.PASSWORD not in told
