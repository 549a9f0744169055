"""An engine's own bridge, its addresses, and the way out for its containers.

dockerd is told to leave the firewall alone: it would leave chains behind. All that is needed is one nftables table of
our own and, where the machine has iptables rules, two rules that let our addresses through. Interfaces are made with
the kernel's own calls, for bare machines have no ``ip``.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from buildopt import process
from buildopt.errors import EngineError

Network = ipaddress.IPv4Network
FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_POOL = Network("10.208.0.0/12")
_SIZE = 20  # a prefix length: room for the bridge and 15 more networks of 256 addresses

# linux/sockios.h
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCGIFADDR, _SIOCBRADDBR = 0x8914, 0x8916, 0x891C, 0x8915, 0x89A0
_IFF_UP = 1
_RTM_DELLINK, _NLM_F_REQUEST, _NLM_F_ACK = 17, 1, 4


def free_subnet(identity: str, taken: Iterable[str]) -> Network:
    """A range of private addresses that this machine has no route to and that no other engine has.

    The same ``identity`` gets the same range again where it is free. Raises EngineError where none is.
    """
    used = [*routes(), *(Network(subnet) for subnet in taken)]
    subnets = list(_POOL.subnets(new_prefix=_SIZE))
    first = int(identity, 16) % len(subnets)
    for subnet in subnets[first:] + subnets[:first]:
        if not any(subnet.overlaps(other) for other in used):
            return subnet
    raise EngineError(f"no free addresses for a bridge in {_POOL}", hint="buildopt engine down ends a private engine")


def routes() -> list[Network]:
    """Where the machine's routes lead to, without the default ones."""
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(word), "little") for word in (words[1], words[7]))
        if mask:
            found.append(Network((address, bin(mask).count("1"))))
    return found


def outgoing_mtu() -> int:
    """The largest packet of the interface that the default route leaves by; 1500 where there is none."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        if words[1] == "00000000" and words[7] == "00000000":
            with suppress(OSError, ValueError):
                return int(Path(f"/sys/class/net/{words[0]}/mtu").read_text())
    return 1500


def bridge_network(subnet: Network) -> Network:
    """The part of an engine's addresses that its bridge has."""
    return next(subnet.subnets(new_prefix=24))


def add_bridge(name: str, subnet: Network) -> None:
    """Make a bridge with the first address of ``subnet``'s first 256. Raises EngineError."""
    network = bridge_network(subnet)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _SIOCBRADDBR, struct.pack("16s", name.encode()))
            fcntl.ioctl(control, _SIOCSIFADDR, _address_request(name, network.network_address + 1))
            fcntl.ioctl(control, _SIOCSIFNETMASK, _address_request(name, network.netmask))
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", name.encode(), _IFF_UP))
    except OSError as error:
        raise EngineError(
            f"the network bridge {name} cannot be made: {error.strerror}",
            hint="a private engine needs the right to set up networks (CAP_NET_ADMIN) and a kernel with bridges",
        ) from error


def remove_bridges(name: str, subnet: Network | None) -> None:
    """Remove the bridge, other bridges with addresses of ``subnet``, and what is still plugged into them."""
    for path in Path("/sys/class/net").iterdir():
        address = interface_address(path.name)
        ours = subnet is not None and address is not None and address in subnet
        if (path / "bridge").is_dir() and (path.name == name or ours):
            deadline = time.monotonic() + 2.0
            # The far ends vanish with their network namespaces, a moment after those were unmounted.
            while any((path / "brif").iterdir()) and time.monotonic() < deadline:
                time.sleep(0.02)
            for port in (path / "brif").iterdir():
                delete_link(port.name)
            delete_link(path.name)


def interface_address(name: str) -> ipaddress.IPv4Address | None:
    """The IPv4 address of an interface."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            answer = fcntl.ioctl(control, _SIOCGIFADDR, struct.pack("40s", name.encode()))
    except OSError:
        return None
    return ipaddress.IPv4Address(answer[20:24])


def delete_link(name: str) -> None:
    """Remove an interface, if it is there."""
    with suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, socket.if_nametoindex(name), 0, 0)
        header = struct.pack("=IHHII", 16 + len(body), _RTM_DELLINK, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0)
        netlink.sendto(header + body, (0, 0))
        netlink.recv(4096)


def _address_request(name: str, address: ipaddress.IPv4Address) -> bytes:
    return struct.pack("16sHH4s16x", name.encode(), socket.AF_INET, 0, address.packed)


def open_way_out(name: str, subnet: Network, environment: Mapping[str, str]) -> None:
    """Let containers with addresses of ``subnet`` reach the network, behind the machine's own address.

    Raises ToolError where the kernel has no nftables.
    """
    table = f"""table ip {name} {{
        chain out {{
            type nat hook postrouting priority 100; policy accept;
            ip saddr {subnet} ip daddr != {subnet} masquerade
        }}
    }}"""
    process.run(["nft", "-f", "-"], data=table.encode(), env=environment, hint="the kernel needs nf_tables")
    if process.which("iptables") is not None:
        for rule in _forward_rules(name, subnet):
            process.run(["iptables", "-w", "-I", "FORWARD", *rule], check=False)


def close_way_out(name: str, subnet: Network, environment: Mapping[str, str]) -> None:
    """Undo ``open_way_out``; nothing to do is fine."""
    if process.which("nft", path=environment["PATH"]) is not None:
        process.run(["nft", "delete", "table", "ip", name], env=environment, check=False)
    if process.which("iptables") is not None:
        for rule in _forward_rules(name, subnet):
            while process.run(["iptables", "-w", "-D", "FORWARD", *rule], check=False).returncode == 0:
                pass


def _forward_rules(name: str, subnet: Network) -> list[list[str]]:
    comment = ["-m", "comment", "--comment", name]
    answers = ["-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED"]
    return [
        ["-s", str(subnet), *comment, "-j", "ACCEPT"],
        ["-d", str(subnet), *answers, *comment, "-j", "ACCEPT"],
    ]
