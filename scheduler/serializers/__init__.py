"""What people send and get, a file for each thing that it is about."""
