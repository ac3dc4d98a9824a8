"""The emulated Kubernetes API: a generic store with authentication, RBAC, patches, watches and tables.

Begin at server.py (one request in, one answer out); resources.py is the table of what it serves.
"""
