"""The web console: Django templates and htmx over the same services as the REST API, no build step.

May import every room but the wiring. Begin with urls.py.
"""
