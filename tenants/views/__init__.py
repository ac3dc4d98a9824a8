"""Endpoints, a file for each thing that they are about. Shape in, one call, answer out."""
