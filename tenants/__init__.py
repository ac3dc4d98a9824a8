"""Tenants, projects and the people in them: users, groups, members, service accounts, tokens, quotas.

May import facet.operations and facet.rest. Begin with models.py, then access.py (roles) and isolation.py (context).
"""
