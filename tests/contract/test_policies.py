"""Storage policies: what a site calls its kinds of storage, and which datastores satisfy each now."""

from __future__ import annotations

from infra.drivers.base import PolicyFacts


def refs(driver, *names):
    return tuple(sorted(store.ref for store in driver.inventory().datastores if store.name in names))


def test_policies_are_told_with_the_datastores_that_satisfy_them(site, driver):
    found = driver.policies()
    assert found
    assert len({policy.ref for policy in found}) == len(found)
    known = {store.ref for store in driver.inventory().datastores}
    for policy in found:
        assert policy.name
        assert set(policy.datastore_refs) <= known


def test_what_satisfies_a_policy_now_is_told_and_nothing_is_written(site, driver, connect):
    policy = driver.policies()[0]
    before = [policy.datastore_refs]
    names = {store.ref: store.name for store in driver.inventory().datastores}
    try:
        for satisfying in ([site.other_datastore], [site.datastore, site.other_datastore], []):
            site.by_hand.satisfied_by(policy, satisfying)
            writes = site.by_hand.writes()
            expected = PolicyFacts(policy.ref, policy.name, refs(driver, *satisfying))
            for looking in (driver, connect()):  # a login is no write
                (now,) = [one for one in looking.policies() if one.ref == policy.ref]
                assert PolicyFacts(now.ref, now.name, tuple(sorted(now.datastore_refs))) == expected
            assert site.by_hand.writes() == writes
    finally:
        site.by_hand.satisfied_by(policy, [names[ref] for ref in before[0]])


def test_policies_are_told_in_a_session_that_was_opened_anew(site, connect):
    looking = connect()
    assert looking.policies() == looking.policies()
    looking.check()
    assert [one.name for one in looking.policies()]
