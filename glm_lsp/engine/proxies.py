"""Which proxy stands between us and a server, as the usual variables of the environment say.

Never leads what is meant for this host out of it, and never shows the user and the password of a proxy.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from glm_lsp.errors import SettingsError

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        host: its name.
        port: its port.
        tls: whether it is spoken to over TLS itself.
        variable: where it comes from.
        authorization: the header that proves who we are; empty for none.
    """

    host: str
    port: int
    tls: bool = False
    variable: str = ""
    authorization: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """How an error calls it."""
        return f"the proxy {self.host}:{self.port} of {self.variable}"


def proxy_for(host: str, port: int, *, tls: bool, environment: Mapping[str, str]) -> Proxy | None:
    """Finds the proxy for a server: `https_proxy` or `http_proxy`, else `all_proxy`, unless `no_proxy` excepts it.

    Names count in small letters first and then in capitals, as in curl. `localhost` and loopback addresses never have
    one.

    Args:
        host: the server's name or address.
        port: its port.
        tls: whether it is spoken to over TLS.
        environment: the variables.

    Raises:
        SettingsError: what is set there is no proxy that we can speak to.
    """
    if _is_here(host):
        return None
    names = ("https_proxy" if tls else "http_proxy", "all_proxy")
    spelled = [spelling for name in names for spelling in (name, name.upper())]
    variable = next((name for name in spelled if environment.get(name, "").strip()), None)
    excepted = environment.get("no_proxy", "") or environment.get("NO_PROXY", "")
    if variable is None or _is_excepted(host, port, excepted):
        return None
    return _read(environment[variable].strip(), variable)


def _read(text: str, variable: str) -> Proxy:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        what = f"is a proxy of the kind {parts.scheme}" if parts.scheme.startswith("socks") else "is no proxy's address"
        raise SettingsError(
            f"What {variable} holds {what}.",
            hint="It is http://host:port, with user:password@ before the host if need be; no_proxy names exceptions.",
        )
    proof = ""
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        proof = f"Basic {b64encode(pair.encode()).decode()}"
    tls = parts.scheme == "https"
    return Proxy(host, port or (443 if tls else 80), tls, variable, proof)


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    """Whether the list names it: a host, the end of its name, an address, a network, each with or without a port."""
    host = host.lower().rstrip(".")
    for each in exceptions.lower().replace(",", " ").split():
        if each == "*":
            return True
        name, _, only = each.rpartition(":")
        if name and only.isdigit() and (name.startswith("[") or ":" not in name):
            if int(only) != port:
                continue
            each = name  # noqa: PLW2901 - what is left of it is compared
        each = each.strip("[]").removeprefix("*").lstrip(".").rstrip(".")  # noqa: PLW2901 - as above
        if each and (host == each or host.endswith(f".{each}") or _is_in(host, each)):
            return True
    return False


def _is_in(host: str, network: str) -> bool:
    import ipaddress  # noqa: PLC0415 - only where there is a proxy

    address = _address(host)
    try:
        return address is not None and address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    import ipaddress  # noqa: PLC0415 - as above

    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
