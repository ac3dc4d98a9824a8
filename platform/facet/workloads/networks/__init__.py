"""Networks of projects' own, and their firewall: asked for in services, made at the site by reconcile.

Begin with services.py. addresses.py and nics.py of workloads give their addresses out.
"""
