"""Infrastructure: sites, zones, hosts, datastores, networks, flavors, images, add-ons; the drivers and the simulator.

May import facet.operations and facet.rest. Begin with models.py, then drivers/base (the contract) and reconcile.py.
"""
