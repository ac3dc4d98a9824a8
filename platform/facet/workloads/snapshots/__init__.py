"""Snapshots of a project's VMs: taken, gone back to, removed."""
