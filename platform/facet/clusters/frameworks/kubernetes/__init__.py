"""Kubernetes by kubeadm: boot data without SSH, the cluster's own API as the only witness. Begin with framework.py."""
