"""Addresses for cluster endpoints: each handed out once at a time, whoever asks at once."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
from django.db import connections

from facet.rest.problems import Conflict, InUse, Invalid, Problem
from infra import endpoints
from infra.models import Endpoint, Site
from tests import sites
from tests.factories import as_system


@pytest.fixture
def zone():
    made = sites.carved(sites.registered())
    with as_system():
        endpoints.change_range(made, "127.20.0.10-127.20.0.29")
    return made


def take(zone, holder):
    with as_system():
        return endpoints.take(zone_ids=[zone.id], holder=holder)


def test_an_endpoint_address_is_handed_out_once(zone):
    def one(_):
        try:
            return take(zone, uuid4())
        except Problem as problem:
            return problem.code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(30)))
    given = [answer for answer in answers if answer != "endpoints_exhausted"]
    assert len(given) == len(set(given))
    assert len(given) <= 20
    while len(given) < 20:  # who came while the last free one was being taken was sent away
        given.append(take(zone, uuid4()))
    assert set(given) == {f"127.20.0.{last}" for last in range(10, 30)}
    with pytest.raises(Problem) as refused:
        take(zone, uuid4())
    assert (refused.value.status, refused.value.code) == (409, "endpoints_exhausted")


def test_the_lowest_free_address_is_taken_and_one_given_back_is_free_again(zone):
    one, two = uuid4(), uuid4()
    assert take(zone, one) == "127.20.0.10"
    assert take(zone, two) == "127.20.0.11"
    with as_system():
        endpoints.give_back(one)
        endpoints.give_back(one)
    assert take(zone, uuid4()) == "127.20.0.10"


def test_who_asks_twice_has_one(zone):
    holder = uuid4()
    assert take(zone, holder) == take(zone, holder) == "127.20.0.10"
    assert Endpoint.objects.filter(holder=holder).count() == 1


def test_what_rolls_back_has_taken_nothing(zone):
    holder = uuid4()

    def take_and_fail():
        with as_system():
            endpoints.take(zone_ids=[zone.id], holder=holder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        take_and_fail()
    assert not Endpoint.objects.exclude(holder=None).exists()


def test_a_range_grows_and_shrinks_around_what_is_held(zone):
    take(zone, uuid4())
    with as_system():
        endpoints.change_range(zone, "127.20.0.5-127.20.0.12")
    assert Endpoint.objects.filter(zone=zone).count() == 8
    with pytest.raises(InUse), as_system():
        endpoints.change_range(zone, "127.20.0.11-127.20.0.12")
    assert Endpoint.objects.filter(zone=zone).count() == 8


@pytest.mark.parametrize(
    "text",
    [
        "nonsense", "127.20.0.9-127.20.0.1", "127.20.0.1-", "-", "1.2.3.4/24", "10.0.0.0-10.1.0.0", "::1-::2",
        "224.0.0.1-224.0.0.9", "0.0.0.0-0.0.0.3", "255.255.255.250-255.255.255.255", "127.20.0.1-127.20.0.2-127.20.0.3",
    ],
)  # fmt: skip
def test_a_range_that_cannot_be_is_refused(zone, text):
    with pytest.raises(Invalid) as refused, as_system():
        endpoints.change_range(zone, text)
    assert list(refused.value.more["errors"]) == ["endpoint_range"]


def test_a_simulators_endpoints_lie_in_its_own_network(zone):
    with as_system():
        Site.objects.update(address_network="127.44.0.0/16")
        zone.site.refresh_from_db()
        endpoints.change_range(zone, "127.44.1.10-127.44.1.250")
    for text in ("127.45.1.10-127.45.1.20", "127.44.0.10-127.44.0.20", "127.44.15.250-127.44.16.3"):
        with pytest.raises(Invalid), as_system():
            endpoints.change_range(zone, text)


def test_a_simulators_zone_that_names_no_range_gets_the_next_block_of_its_own(zone):
    with as_system():
        Site.objects.update(address_network="127.44.0.0/16")
        zone.site.refresh_from_db()
        endpoints.change_range(zone, endpoints.propose(zone.site))
    other = sites.carved(zone.site, "az2", rack=2)
    assert other.endpoint_range == "127.44.2.10-127.44.2.250"


def test_two_zones_of_a_site_share_no_address(zone):
    other = sites.carved(zone.site, "az2", rack=2)
    with pytest.raises(Conflict) as refused, as_system():
        endpoints.change_range(other, "127.20.0.29-127.20.0.35")
    assert refused.value.code == "range_overlaps"
