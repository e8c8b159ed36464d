"""Settings as the files of systemd-networkd and chrony."""

from __future__ import annotations

from ampgate.system.network.settings import Settings


def networkd(settings: Settings, interface: str) -> str:
    """The ``.network`` file of the interface (man 5 systemd.network)."""
    static = settings.address is not None
    network = [
        f"DHCP={'no' if static else 'yes'}",
        # A static address has no link-local one beside it; with DHCP it is what is left when the fallback is in use.
        f"LinkLocalAddressing={'ipv6' if static else 'yes'}",
        f"MulticastDNS={'yes' if settings.mdns else 'no'}",
        "LLMNR=no",
        *(f"DNS={server}" for server in settings.dns),
    ]
    sections = [
        ("Match", [f"Name={interface}"]),
        ("Link", ["RequiredForOnline=no"]),
        ("Network", network),
    ]
    if static:
        sections.append(("Address", [f"Address={settings.address}", "DuplicateAddressDetection=ipv4"]))
        if settings.gateway is not None:
            sections.append(("Route", [f"Gateway={settings.gateway}"]))
    else:
        # The machine id, which makes the default identifier, changes at each start of a device with a read-only root.
        sections.append(("DHCPv4", ["ClientIdentifier=mac", "UseHostname=no", "UseTimezone=no"]))
    if settings.dns:
        sections += [(source, ["UseDNS=no"]) for source in ("DHCPv4", "DHCPv6", "IPv6AcceptRA")]
    return "\n".join("\n".join([f"[{title}]", *lines, ""]) for title, lines in sections)


def chrony_sources(settings: Settings) -> str:
    """The time servers (man 5 chrony.conf, sourcedir)."""
    return "".join(f"server {server} iburst\n" for server in settings.ntp)


def host_name(settings: Settings, mac: bytes) -> str:
    """The host name, by default from the last three bytes of the hardware address."""
    return settings.hostname or f"ampgate-{mac[-3:].hex()}"
