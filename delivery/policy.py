"""Where a webhook may point. Asked twice: when a URI is given, about a literal address in it, and when a
connection is made, about the address that is really dialled."""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import urlsplit

from config import Config

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


# Link-local, where clouds answer with credentials, and the places outside it where some do the same.
METADATA = _networks(
    "169.254.0.0/16",
    "fe80::/10",
    "100.100.100.200/32",  # Alibaba
    "168.63.129.16/32",  # Azure's host
    "192.0.0.192/32",  # Oracle
    "fd00:ec2::/32",  # AWS
    "fd20:ce::/32",  # Google
)
NOT_A_HOST = _networks("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8", "fec0::/10")
# Not of the public internet, whatever this Python's `is_global` says: its table differs between releases.
NOT_PUBLIC = _networks(
    "100.64.0.0/10",
    "192.0.0.0/24",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "64:ff9b:1::/48",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
)
NAT64, NAT64_LOCAL, COMPATIBLE = (ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96"))
LOOPBACK = ip_address("127.0.0.1")


@dataclass(frozen=True)
class Policy:
    """`own_ports` are our own listeners: a webhook to them would let a token holder speak as the box."""

    allow_private: bool
    own_ports: frozenset[int]

    @classmethod
    def of(cls, config: Config) -> Self:
        ports = {config.port, config.hook_port}
        if config.media_server != "none":
            ports |= {config.http_port, config.rtmp_port}
        return cls(config.webhook_allow_private, frozenset(port for port in ports if port))

    def refusal(self, host: str, port: int) -> str | None:
        """Why this IP address must not be connected to, or None if it may."""
        for address in meant(ip_address(host.partition("%")[0])):
            if any(address in network for network in METADATA):
                return f"{host} is link-local or a cloud's metadata service, which no webhook may reach."
            if any(address in network for network in NOT_A_HOST):
                return f"{host} is not the address of a host."
            if port in self.own_ports and _is_ours(address):
                return f"{host}:{port} is this server itself."
            if not self.allow_private and not _is_public(address):
                return f"{host} is not a public address, and WEBHOOK_ALLOW_PRIVATE is 0."
        return None

    def refusal_of(self, uri: str) -> str | None:
        """The same for a URI whose host is a literal address, in any spelling; names are judged when dialled."""
        parts = urlsplit(uri)
        address = literal(parts.hostname or "")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return self.refusal(str(address), port) if address else None


def literal(host: str) -> Address | None:
    """The address that a host is, in any of the spellings that C libraries take (0x7f.1, 2130706433)."""
    name = host.removesuffix(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return LOOPBACK
    try:
        return ip_address(name)
    except ValueError:
        pass
    try:
        # inet_aton also takes a tail after white space; a URI that came this far has none.
        return IPv4Address(socket.inet_aton(name))
    except (OSError, ValueError):
        return None


def meant(address: Address) -> list[Address]:
    """The address and every IPv4 address inside it: mapped, translated or tunnelled, the packet ends there."""
    if isinstance(address, IPv4Address):
        return [address]
    inner = address.ipv4_mapped
    if inner:
        return [inner]
    found: list[Address] = [address]
    if address.sixtofour:
        found.append(address.sixtofour)
    if address.teredo:
        found.append(address.teredo[1])
    if any(address in network for network in (NAT64, NAT64_LOCAL)) or (
        address in COMPATIBLE and int(address) > 1
    ):
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _is_public(address: Address) -> bool:
    if any(address in network for network in NOT_PUBLIC):
        return False
    # The wrappers of an IPv4 address are public where that one is, which is asked beside them.
    wrapper = isinstance(address, IPv6Address) and (address in NAT64 or bool(address.sixtofour))
    return wrapper or address.is_global


def _is_ours(address: Address) -> bool:
    """True for an address of this host: only such a one can be bound."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
