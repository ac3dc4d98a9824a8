"""Names of nodes: one for VM, guest and Node, never too long, never the clock's bits."""

from uuid import UUID

import pytest

from facet.clusters.frameworks.base import BadSpec
from facet.clusters.frameworks.kubernetes import names
from facet.rest.ids import uuid7


def test_the_suffix_is_the_last_thirty_bits_and_not_the_clock():
    assert names.suffix(UUID(int=0)) == "aaaaaa"
    assert names.suffix(UUID(int=31)) == "aaaaa7"
    assert names.suffix(UUID(int=(1 << 30) - 1)) == "777777"
    assert names.suffix(UUID(int=0xABC << 64 | 5)) == names.suffix(UUID(int=5))
    assert len({names.suffix(uuid7()) for _ in range(200)}) > 195


def test_a_name_says_cluster_and_pool():
    assert names.node_name("shop", "main", UUID(int=1)) == "shop-main-aaaaab"


@pytest.mark.parametrize(("cluster", "fits"), [("c" * 51, True), ("c" * 52, False)])
def test_a_name_is_a_dns_label_or_refused(cluster, fits):
    if fits:
        assert len(names.node_name(cluster, "main", UUID(int=1))) == 63
        return
    with pytest.raises(BadSpec) as refused:
        names.node_name(cluster, "main", UUID(int=1))
    assert refused.value.field == "name"
    assert "by 1." in refused.value.sentence
