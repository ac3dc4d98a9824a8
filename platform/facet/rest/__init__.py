"""What every endpoint shares: problem+json, paging, idempotency, ETag, the schema, the Access protocol, ids, secrets.

Knows no other room and may import none. Begin with endpoint.py.
"""
