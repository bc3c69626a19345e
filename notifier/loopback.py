"""Which hosts are this machine itself, as they are written: nothing is resolved."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return whether a host, a name or an address without brackets, stands for this machine alone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith(".localhost")  # RFC 6761, section 6.3
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
