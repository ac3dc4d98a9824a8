"""TLS to a vCenter is verified, whatever is wrong with the certificate and wherever it stands."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.drivers.base import Connection, Refused, Unreachable
from infra.drivers.vsphere.driver import VsphereDriver
from infra.simulator.guests import pki
from tests.unit.guests.userdata import Authority

YEAR_S = timedelta(days=365).total_seconds()


@contextmanager
def impostor(folder, authority: Authority, name: str, at: float):
    """A server at 127.0.0.1 with a certificate for `name` made at `at`; yields its port and what got through to it."""
    key = pki.new_key()
    ca = pki.Authority(authority.certificate, authority.key)
    leaf = pki.issue(ca, key.public_key(), "vcenter", at, sans=[name], server=True)
    pair = folder / "pair.pem"
    pair.write_bytes(pki.certificate_pem(leaf) + pki.key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    heard: list[bytes] = []

    def serve():
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line:
                try:
                    with context.wrap_socket(line, server_side=True) as secure:
                        heard.append(secure.recv(65536))
                except OSError:
                    continue

    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.mark.parametrize(
    ("name", "age_s", "trusted", "said"),
    [
        ("127.0.0.1", 0, False, "self-signed certificate in certificate chain|unable to get local issuer"),
        ("vcenter.example.com", 0, True, "IP address mismatch"),
        ("127.0.0.1", 1.1 * YEAR_S, True, "certificate has expired"),
    ],
    ids=["another-ca", "another-name", "expired"],
)
def test_a_wrong_certificate_is_refused(tmp_path, name, age_s, trusted, said):
    authority = Authority("vCenter CA")
    trust = authority if trusted else Authority("another CA")
    with impostor(tmp_path, authority, name, time.time() - age_s) as (port, heard):
        driver = VsphereDriver(Connection("vsphere", f"https://127.0.0.1:{port}/sdk", "u", "a secret", trust.crt))
        with pytest.raises(Refused, match=said) as refused:
            driver.check()
        assert refused.value.code == "bad_certificate"
        assert "a secret" not in f"{refused.value!r} {refused.value}"
        driver.close()
    assert [line for line in heard if line] == []


class WebPage(BaseHTTPRequestHandler):
    """Answers everything with a page, as a proxy's sign-in does."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html><p>Sign in")

    do_POST = do_GET

    def log_message(self, *_):
        """Silent."""


def test_a_web_page_in_a_vcenters_place_is_said_to_be_no_vcenter(tmp_path):
    authority = Authority("vCenter CA")
    key = pki.new_key()
    ca = pki.Authority(authority.certificate, authority.key)
    leaf = pki.issue(ca, key.public_key(), "vcenter", time.time(), sans=["127.0.0.1"], server=True)
    pair = tmp_path / "pair.pem"
    pair.write_bytes(pki.certificate_pem(leaf) + pki.key_pem(key))
    server = ThreadingHTTPServer(("127.0.0.1", 0), WebPage)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        endpoint = f"https://127.0.0.1:{server.server_port}/sdk"
        driver = VsphereDriver(Connection("vsphere", endpoint, "u", "a secret", authority.crt))
        with pytest.raises(Unreachable):
            driver.check()
        driver.close()
    finally:
        server.shutdown()
        server.server_close()
