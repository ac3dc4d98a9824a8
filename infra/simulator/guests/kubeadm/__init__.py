"""What `kubeadm init` and `kubeadm join` do inside a simulated guest, step for step and as strictly as the real one."""
