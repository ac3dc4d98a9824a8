"""What a team asks for: clusters, node pools, nodes; frameworks/ holds what is particular to Kubernetes.

May import facet.workloads, scheduler, infra, tenants, facet.operations and facet.rest. Begin with services.py, then
reconcile.py.
"""
