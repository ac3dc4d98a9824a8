"""What concerns a whole site: the wrong password, nobody there."""

from __future__ import annotations

import socket
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import pytest

from infra.drivers.base import Refused, Unreachable

SECRET = "not the password at all"


def test_a_wrong_password_is_refused_and_told_to_nobody(site, connect):
    driver = connect(replace(site.connection, password=SECRET))
    with pytest.raises(Refused) as refused:
        driver.check()
    assert refused.value.code == "bad_credentials"
    assert SECRET not in str(refused.value)
    with pytest.raises(Refused):
        driver.inventory()


def test_a_site_that_does_not_answer_is_unreachable(site, connect):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound and not listening: a call is refused
        there = urlsplit(site.connection.endpoint)
        endpoint = urlunsplit(there._replace(netloc=f"127.0.0.1:{nobody.getsockname()[1]}"))
        driver = connect(replace(site.connection, endpoint=endpoint))
        for ask in (driver.check, driver.inventory, lambda: driver.poll(["task-1"])):
            with pytest.raises(Unreachable):
                ask()


def test_a_site_that_takes_the_call_and_says_nothing_is_unreachable_in_time(site, connect):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        there = urlsplit(site.connection.endpoint)
        endpoint = urlunsplit(there._replace(netloc=f"127.0.0.1:{silent.getsockname()[1]}"))
        driver = connect(replace(site.connection, endpoint=endpoint, call_timeout_s=0.3))
        with pytest.raises(Unreachable) as unreachable:
            driver.check()
        assert unreachable.value.code == "timeout"


def test_a_connection_never_shows_its_password(site):
    assert site.connection.password not in repr(site.connection)


def test_making_a_driver_makes_no_call(site, connect):
    connect(replace(site.connection, endpoint=site.connection.endpoint.replace("127.0.0.1", "127.0.0.254")))
