"""The `facet` command: a client of the REST API.

It imports no other room; typer, rich, httpx and PyYAML only. Begin at `main.py`.
"""
