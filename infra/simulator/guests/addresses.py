"""Loopback addresses: a /16 of the house's own, kept by binding its last usable address while the house stands."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
from collections.abc import Sequence

GUARD_PORT = 6443
FIRST_NODE, LAST_NODE = 16, 254  # third octet of node addresses; 1-15 is for cluster endpoints (VIPs)
CHOICE = range(32, 224)


class AddressesTaken(Exception):
    """The house's network is held by another process, or no network is free."""


def bind(address: str, port: int) -> socket.socket:
    """A listening, non-blocking socket. Raises OSError (EADDRINUSE, EADDRNOTAVAIL)."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(512)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class Network:
    """A held /16. Node addresses are given out here; each is one guest's until it is given back."""

    def __init__(self, cidr: str) -> None:
        network = ipaddress.IPv4Network(cidr)
        if network.prefixlen != 16 or not network.is_loopback:
            raise ValueError(f"{cidr} is not a loopback /16")
        self.cidr = str(network)
        self._prefix = ".".join(str(network.network_address).split(".")[:2])
        self._used: set[str] = set()
        self._next = 0
        try:
            self._guard = bind(f"{self._prefix}.255.254", GUARD_PORT)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise AddressesTaken(f"{self.cidr} is in use by another process on this machine") from error

    def close(self) -> None:
        self._guard.close()

    def take(self, address: str) -> None:
        """Mark an address as one guest's, as a record says."""
        self._used.add(address)

    def give(self) -> str:
        """The next free node address; a returned one comes up again only after all the others."""
        size = (LAST_NODE - FIRST_NODE + 1) * 254
        for _ in range(size):
            third, fourth = divmod(self._next, 254)
            self._next = (self._next + 1) % size
            address = f"{self._prefix}.{FIRST_NODE + third}.{fourth + 1}"
            if address not in self._used:
                self._used.add(address)
                return address
        raise AddressesTaken(f"every node address of {self.cidr} is in use")

    def give_back(self, address: str) -> None:
        self._used.discard(address)


def pick(among: Sequence[int] = CHOICE) -> Network:
    """A free 127.B.0.0/16, B one of `among`; which one is chance, so that houses started together seldom meet."""
    for second in random.sample(among, len(among)):
        try:
            return Network(f"127.{second}.0.0/16")
        except AddressesTaken:
            continue
    raise AddressesTaken(f"no 127.B.0.0/16 with B in {among[0]}-{among[-1]} is free")
