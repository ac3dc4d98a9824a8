"""Who gets what: resource pools, holds, allocations, and the ledger that writes them; core/ decides, and is pure.

May import infra, tenants, facet.operations and facet.rest. Begin with core/place.py, then ledger.py.
"""
