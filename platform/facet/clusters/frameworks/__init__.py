"""What is particular to one cluster framework, behind one contract: base.py says it, kubernetes/ keeps it.

Pure functions and small clients over frozen dataclasses: no Django model, no database. Begin with base.py.
"""
