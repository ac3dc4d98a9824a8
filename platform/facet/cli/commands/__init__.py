"""One file for each noun of the command line; `main.py` puts them together."""
