"""Groups of verbs of the simulator's driver (../simulator.py), a file for each."""
