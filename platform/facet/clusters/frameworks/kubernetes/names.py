"""Names of nodes: of the VM, the guest and the Kubernetes Node alike."""

from __future__ import annotations

from uuid import UUID

from facet.clusters.frameworks.base import BadSpec

CONTROL_PLANE_POOL = "cp"  # stands where a pool's name stands; no pool of workers may bear it
LONGEST = 63  # a DNS label
SUFFIX_LENGTH = 6
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"  # base32 of RFC 4648, lower-case


def suffix(node_id: UUID) -> str:
    """Six base32 characters of the id's last 30 bits; the first bits of a UUIDv7 are the clock and would repeat."""
    bits = node_id.int
    return "".join(_ALPHABET[bits >> shift & 31] for shift in range(5 * (SUFFIX_LENGTH - 1), -1, -5))


def node_name(cluster: str, pool: str, node_id: UUID) -> str:
    """`<cluster>-<pool>-<suffix>`. Raises BadSpec where it is longer than a DNS label may be."""
    check_length(cluster, pool)
    return f"{cluster}-{pool}-{suffix(node_id)}"


def check_length(cluster: str, pool: str, field: str = "name") -> None:
    length = len(cluster) + len(pool) + SUFFIX_LENGTH + 2
    if length > LONGEST:
        raise BadSpec(
            field,
            f"A node would be named {cluster}-{pool}-xxxxxx, {length} characters; at most {LONGEST} make a host name. "
            f"Shorten the cluster's or the pool's name by {length - LONGEST}.",
        )
