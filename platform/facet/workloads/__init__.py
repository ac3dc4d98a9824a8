"""VMs of a project, and their folders at the sites.

May import scheduler, infra, tenants, facet.operations and facet.rest. Begin with models.py, then fleet_of_vms.py.
"""
