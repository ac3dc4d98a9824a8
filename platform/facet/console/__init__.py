"""The web console: server-rendered pages with the rights and the scoping of the REST API; htmx refreshes what moves.

May import every room but the wiring. Begin with urls.py, then page.py; what the pages show is read in reading/.
"""
