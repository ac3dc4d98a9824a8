"""Volumes of a project: disks that outlive the VMs that have them, and their snapshots."""
