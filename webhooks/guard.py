"""Which addresses a webhook may be sent to (protection against server-side request forgery)."""

import ipaddress
import socket
import threading
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from django.conf import settings

Address = IPv4Address | IPv6Address

# `ipaddress.is_global` alone is wrong: Python 3.11 lets some of these through.
_FORBIDDEN = [
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # IETF protocol assignments; 192.0.0.192 is a cloud's metadata address
        "192.88.99.0/24",  # 6to4 relays
        "100.64.0.0/10",  # shared address space
        "::/96",  # IPv4-compatible
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "2002::/16",  # 6to4
        "2001::/23",  # Teredo, ORCHID and other assignments
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
    )
]


class BlockedAddress(Exception):
    """The address must not be called. Not an OSError: urllib3 would wrap that away."""


class UnknownHost(Exception):
    """The name does not resolve, or not in time."""


def resolve(host: str, port: int, *, encrypted: bool, timeout_s: float) -> list[tuple[Any, ...]]:
    """The name's addresses as `socket.getaddrinfo` gives them, looked up once, every one of them allowed.

    Raises UnknownHost, or BlockedAddress if any one of them is forbidden.
    """
    answers = _look_up(host, port, timeout_s=timeout_s)
    for *_, place in answers:
        check_address(ipaddress.ip_address(str(place[0]).partition("%")[0]), host=host, encrypted=encrypted)
    return answers


def check_address(address: Address, *, host: str, encrypted: bool) -> None:
    address = getattr(address, "ipv4_mapped", None) or address
    if _is_allowed_by_operator(address):
        return
    if not _is_public(address):
        which = f"{host} leads to {address}, which" if host != str(address) else host
        raise BlockedAddress(
            f"{which} is not a public address. An operator can allow internal networks with WEBHOOK_ALLOWED_NETWORKS."
        )
    if not encrypted and not settings.DEBUG:
        raise BlockedAddress(f"{host} is a public address: use https, so that nobody on the way can read the events.")


def _is_allowed_by_operator(address: Address) -> bool:
    return any(address in ipaddress.ip_network(network) for network in settings.WEBHOOK_ALLOWED_NETWORKS)


def _is_public(address: Address) -> bool:
    is_unicast = not address.is_multicast and not address.is_reserved
    return address.is_global and is_unicast and not any(address in network for network in _FORBIDDEN)


def _look_up(host: str, port: int, *, timeout_s: float) -> list[tuple[Any, ...]]:
    """`getaddrinfo` with a limit on its time; it cannot be interrupted, so a thread of its own waits for it."""
    answer: list[list[tuple[Any, ...]]] = []
    fault: list[Exception] = []

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            fault.append(error)

    thread = threading.Thread(target=ask, name="look-up", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if answer:
        return answer[0]
    raise UnknownHost(f"{host} cannot be found: {fault[0] if fault else f'no answer in {timeout_s:.0f} s'}.")
