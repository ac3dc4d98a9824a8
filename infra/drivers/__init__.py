"""Drivers: the contract (base.py), and who serves which kind of site (factory.py). Drivers import no Django."""
