"""The vSphere driver, on pyVmomi, which no other room may import.

Begin at driver.py; session.py is the way to a vCenter, vms.py the life of a VM.
"""
