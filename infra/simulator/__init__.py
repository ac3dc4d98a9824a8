"""A datacenter in a box: hosts, datastores, VMs, tasks, faults, and guests that boot. A process of its own.

Imports no Django and of Facet only the drivers' vocabulary (infra.drivers.base, extraconfig). Begin at datacenter.py
(what it does when asked), then state.py (what it knows), server.py (how it is asked), guests/house.py (its guests).
"""
