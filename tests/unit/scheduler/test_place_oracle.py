"""The core against all plans: a plan exactly when there is one, and nothing oversold whatever is asked."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.core.ask import Ask, NoRoom, Plan, Policy
from scheduler.core.fleet import Fleet
from scheduler.core.place import place
from scheduler.core.whatif import after, how_many
from tests.unit.scheduler.fleets import groups_together, roles, small_fleets, tight_fleets, tight_roles
from tests.unit.scheduler.oracle import broken_rules, most_that_fit, plan_exists

policies = st.sampled_from(Policy)
seeds = st.integers(0, 5)
often = settings(max_examples=200, deadline=None)


@st.composite
def batches(draw: st.DrawFn, most_roles: int = 3) -> list[Ask]:
    batch: list[Ask] = []
    for number in range(draw(st.integers(1, most_roles))):
        key = f"group-{number}"
        groups = draw(st.sampled_from([None, groups_together(key)]))
        batch += draw(roles(start=100 * number, most=3, groups=groups))
    return draw(st.permutations(batch))


@often
@given(small_fleets(), batches(), policies, seeds)
def test_no_plan_breaks_a_rule(there: Fleet, batch: list[Ask], policy: Policy, seed: int) -> None:
    answer = place(batch, there, policy=policy, seed=seed)
    if isinstance(answer, Plan):
        assert broken_rules(batch, there, answer) == []


@often
@given(small_fleets(), roles(), policies, seeds)
def test_interchangeable_asks_fit_exactly_when_a_plan_exists(
    there: Fleet, batch: list[Ask], policy: Policy, seed: int
) -> None:
    most = most_that_fit(batch, there)
    answer = place(batch, there, policy=policy, seed=seed)
    assert isinstance(answer, Plan) == (most == len(batch))
    assert how_many(batch[0], there, most=len(batch)) == most
    if isinstance(answer, NoRoom):
        assert answer.proven
        assert answer.placed == most


@often
@given(
    small_fleets(ample_disks=True),
    roles(single=True, ample_disks=True),
    roles(start=100, ample_disks=True),
    policies,
    seeds,
)
def test_one_a_host_beside_any_other_role_fits_exactly_when_a_plan_exists(
    there: Fleet, control_planes: list[Ask], workers: list[Ask], policy: Policy, seed: int
) -> None:
    batch = [*workers, *control_planes]
    answer = place(batch, there, policy=policy, seed=seed, effort=0)
    assert isinstance(answer, Plan) == plan_exists(batch, there)
    assert isinstance(answer, Plan) or answer.proven


@often
@given(small_fleets(), batches(), policies, seeds)
def test_a_small_batch_of_any_roles_fits_exactly_when_a_plan_exists(
    there: Fleet, batch: list[Ask], policy: Policy, seed: int
) -> None:
    answer = place(batch, there, policy=policy, seed=seed)
    assert isinstance(answer, Plan) == plan_exists(batch, there)
    assert isinstance(answer, Plan) or answer.proven


@often
@given(small_fleets(), batches(), policies, seeds)
def test_what_is_proven_without_a_search_is_true(there: Fleet, batch: list[Ask], policy: Policy, seed: int) -> None:
    answer = place(batch, there, policy=policy, seed=seed, effort=0)
    if isinstance(answer, NoRoom) and answer.proven:
        assert not plan_exists(batch, there)


@often
@given(tight_fleets(), tight_roles(), policies, seeds)
def test_disks_move_over_until_as_many_fit_as_can(there: Fleet, batch: list[Ask], policy: Policy, seed: int) -> None:
    most = most_that_fit(batch, there)
    assert how_many(batch[0], there, most=len(batch)) == most
    answer = place(batch, there, policy=policy, seed=seed)
    assert broken_rules(batch, there, answer) == [] if isinstance(answer, Plan) else answer.placed == most


@st.composite
def tight_batches(draw: st.DrawFn) -> list[Ask]:
    batch: list[Ask] = []
    for number in range(draw(st.integers(2, 4))):
        batch += draw(tight_roles(start=100 * number, most=2))
    return batch


@often
@given(tight_fleets(), tight_batches(), policies, seeds)
def test_a_tight_batch_of_any_roles_fits_exactly_when_a_plan_exists(
    there: Fleet, batch: list[Ask], policy: Policy, seed: int
) -> None:
    exists = plan_exists(batch, there)
    assert isinstance(place(batch, there, policy=policy, seed=seed), Plan) == exists
    quick = place(batch, there, policy=policy, seed=seed, effort=0)
    assert exists or isinstance(quick, NoRoom)
    assert isinstance(quick, Plan) or not (quick.proven and exists)


@often
@given(small_fleets(), batches(), policies, seeds)
def test_a_fleet_after_a_plan_has_that_much_less(there: Fleet, batch: list[Ask], policy: Policy, seed: int) -> None:
    answer = place(batch, there, policy=policy, seed=seed)
    if not isinstance(answer, Plan):
        return
    then = after(there, batch, answer)
    held_before, held_then = _held(there), _held(then)
    for amount, claimed, limit in (
        ("vcpu", "vcpu_claimed", "vcpu_limit"),
        ("memory_mib", "memory_claimed_mib", "memory_limit_mib"),
    ):
        taken: Counter[object] = Counter()
        for wanted, got in zip(batch, answer.placements, strict=True):
            taken[got.host_id] += getattr(wanted, amount)
        for old, new in zip(there.hosts, then.hosts, strict=True):
            eaten = held_before[amount][old.id] - held_then[amount][old.id]
            assert getattr(new, claimed) - getattr(old, claimed) == taken[old.id] - eaten
            assert getattr(new, claimed) <= max(getattr(old, claimed), getattr(new, limit))
            assert min(held_then[amount].values(), default=0) >= 0


def _held(there: Fleet) -> dict[str, Counter[object]]:
    found: dict[str, Counter[object]] = {"vcpu": Counter(), "memory_mib": Counter()}
    for holds in there.listed_holds().values():
        for hold in holds:
            found["vcpu"][hold.host_id] += hold.vcpu
            found["memory_mib"][hold.host_id] += hold.memory_mib
    return found
