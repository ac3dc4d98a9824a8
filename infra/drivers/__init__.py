"""Drivers: the contract (base/), and who serves which kind of site (factory.py). Drivers import no Django."""
