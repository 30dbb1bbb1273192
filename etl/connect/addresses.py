"""Which addresses a source may have: public ones, and private ones only where lakehouse.toml allows them.

A name is looked up once and the address that was judged is the one that is connected to, so that a name that answers
with another address the second time gains nothing. Method: OWASP, Server-Side Request Forgery Prevention.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from etl.errors import SourceRefused

Resolve = Callable[[str, int], Iterable[str]]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def looked_up(host: str, port: int) -> list[str]:
    """The addresses of a name. Raises: OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_private(address: str) -> bool:
    """True for loopback, link-local, private and every other range that is not the public net's."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:
            return is_private(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is not None:
            return is_private(str(inner))
    return not ip.is_global or ip.is_multicast or ip.is_reserved


class Guard(httpcore.SyncBackend):
    """Connections to public addresses only. `source` is its name, for the message."""

    def __init__(self, source: str, *, resolve: Resolve = looked_up) -> None:
        self._source = source
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        addresses = self.allowed(host, port)
        for address in addresses[:-1]:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return super().connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    def allowed(self, host: str, port: int) -> list[str]:
        """The addresses of a name, all of them public. Raises: SourceRefused; httpcore.ConnectError without any."""
        try:
            addresses = list(self._resolve(host, port))
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise httpcore.ConnectError(f"{host} has no address")
        private = next((address for address in addresses if is_private(address)), None)
        if private is None:
            return addresses
        shown = host if host == private else f"{host} ({private})"
        raise SourceRefused(
            f"{self._source}: {shown} is a private address; if it is meant, set allow_private = true in "
            f"[sources.{self._source}] of lakehouse.toml"
        )


class Connections(httpx.HTTPTransport):
    """httpx's own transport; with a `guard`, every connection it makes passes by it."""

    def __init__(self, trusted: ssl.SSLContext, limits: httpx.Limits, guard: Guard | None) -> None:
        super().__init__(verify=trusted, trust_env=False, limits=limits)
        if guard is not None:
            # httpx has no argument for it; its pool does.
            self._pool.close()
            self._pool = httpcore.ConnectionPool(
                ssl_context=trusted,
                max_connections=limits.max_connections,
                max_keepalive_connections=limits.max_keepalive_connections,
                keepalive_expiry=limits.keepalive_expiry,
                network_backend=guard,
            )
