"""VMs of a project, and their folders at the sites.

May import scheduler, infra, tenants, facet.operations and facet.rest. Begin with models.py, then machines.py (what a
pass does with the VMs of one owner) and watching.py (what a site tells about them).
"""
