"""PostgreSQL, Valkey and Facet's own processes on one machine, without Docker: `make demo`, `make run`.

Imports no other room. Begin with stack.py.
"""
