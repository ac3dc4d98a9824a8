"""A wiring for tests of the engine: the product's, with reconcilers that a test puts in."""

from facet.registry import (
    ADOPTED_VMS,
    CANCELLERS,
    HOLDERS,
    SITE_OBSERVERS,
    context,
    zone_id,
    zone_names,
)

RECONCILERS = {}

__all__ = ["ADOPTED_VMS", "CANCELLERS", "HOLDERS", "RECONCILERS", "SITE_OBSERVERS", "context", "zone_id", "zone_names"]
