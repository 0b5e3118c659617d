"""Where a request was made: by a client of ours, or by a page of somebody else's in a browser of ours."""

import ipaddress
from collections.abc import Iterable

from starlette.requests import Request


def is_loopback(host: str) -> bool:
    """Whether an address, or `localhost`, leads to this machine alone. A name that has to be looked up does not."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def names_loopback(request: Request) -> bool:
    """Whether the client addressed this machine as such.

    A page whose own name was made to lead to 127.0.0.1 (DNS rebinding) still sends its name.
    """
    return all(is_loopback(_without_port(host)) for host in _values(request, b"host"))


def is_cross_site(request: Request, *, navigation: bool = False) -> bool:
    """Whether a browser says that another site's page made the request. Clients that are no browser say nothing.

    Args:
        navigation: whether a request that the person made (address bar, bookmark) is taken.
    """
    sites = _values(request, b"sec-fetch-site")
    if sites:
        return any(site != "same-origin" and not (navigation and site == "none") for site in sites)
    hosts = _values(request, b"host")
    return any(origin.partition("://")[2] not in hosts for origin in _values(request, b"origin"))


def network(request: Request) -> str:
    """The client's address; of IPv6 the /64, which is what one subscriber has."""
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return host


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _values(request: Request, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = request.scope["headers"]
    return [value.decode("latin-1").strip().lower() for header, value in headers if header == name]
