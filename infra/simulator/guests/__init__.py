"""Guests: machines that boot from cloud-init user-data and serve a Kubernetes API on loopback addresses.

Imports nothing of the other rooms; no Django. Begin at house.py (all guests of one simulator), then guest.py (one
machine's life), kubeadm/ (init and join), api/ (the emulated API) and controllers/ (what fills in its status).
"""
