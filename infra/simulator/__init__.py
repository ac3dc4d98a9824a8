"""A datacenter in a box: hosts, datastores, VMs, tasks, faults, and guests that boot. A process of its own.

Imports no Django, and of Facet the drivers' vocabulary (vcenter_guests.py: the vSphere driver). Begin at datacenter.py
(what may be asked), then state.py (what it knows), machines.py (the life of a VM), guests/house.py (its guests).
"""
