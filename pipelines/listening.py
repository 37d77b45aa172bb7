"""Sockets of this process that were opened by a library: at which of this machine's addresses they can be reached.

TensorFlow's gRPC servers bind every address of a machine, whatever host they are given, and have no option for it. What
they accept can be narrowed from outside: Linux lets a process attach a filter of packets to its own sockets, without
privileges, and a connection inherits it.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import struct

SO_ATTACH_FILTER = 26  # linux/socket.h; Python has no name for it
DESCRIPTORS = "/proc/self/fd"
# Classic BPF, linux/filter.h and linux/bpf_common.h: (code, instructions to skip if true, if false, operand).
LOAD_BYTE, LOAD_WORD, AND, IF_EQUAL, RETURN = 0x30, 0x20, 0x54, 0x15, 0x06
NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF
DESTINATION = {4: 16, 6: 24}  # where an IP header has it, bytes
WHOLE_PACKET = 0xFFFFFFFF


def listening_ports() -> set[int]:
    """The TCP ports that this process listens on; empty where the system does not say."""
    return {port for _, port in _listening_sockets()}


def accept_only(host: str, ports: set[int]) -> list[str]:
    """Have this process's sockets that listen on `ports` drop packets that are sent to another address than `host`.

    A name stands for what this machine resolves it to, unless that is a loopback address (other machines mean another
    one by this name) or no address of this machine (they reach it through a translation of addresses).

    Returns: the addresses; empty if nothing was narrowed, and all of this machine's are open.
    """
    addresses = _addresses_of(host)
    sockets = [descriptor for descriptor, port in _listening_sockets() if port in ports]
    if not addresses or not sockets:
        return []
    try:
        for descriptor in sockets:
            _attach(descriptor, _program(addresses))
    except OSError:  # a system that has no such filters
        return []
    return [str(address) for address in addresses]


def _addresses_of(host: str) -> list:
    try:
        found = {info[4][0].split("%")[0] for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return []
    addresses = sorted(map(ipaddress.ip_address, found), key=lambda address: (address.version, address))
    if host.lower() == "localhost":  # IPv6 may be switched off where a table of hosts still has it
        return [address for address in addresses if _is_here(address)]
    is_name = host not in found
    usable = all(_is_here(address) and not (is_name and address.is_loopback) for address in addresses)
    return addresses if usable else []


def _is_here(address) -> bool:
    """Whether it is an address of this machine, one alone: a socket can be bound to it."""
    if address.is_unspecified:
        return False
    try:
        with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def _listening_sockets() -> list[tuple[int, int]]:
    """`(descriptor, port)`."""
    try:
        descriptors = [int(name) for name in os.listdir(DESCRIPTORS)]
    except OSError:
        return []
    found = []
    for descriptor in descriptors:
        try:
            with _borrowed(descriptor) as borrowed:
                is_tcp = borrowed.family in (socket.AF_INET, socket.AF_INET6) and borrowed.type == socket.SOCK_STREAM
                if is_tcp and borrowed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found.append((descriptor, borrowed.getsockname()[1]))
        except OSError:
            continue  # no socket, or closed since
    return found


def _borrowed(descriptor: int) -> socket.socket:
    """A socket object whose end does not close the descriptor."""
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def _program(addresses) -> list[tuple[int, int, int, int]]:
    """Accept a packet whose IP header has one of the addresses as its destination."""
    program = []
    for address in addresses:
        words = struct.unpack(f">{len(address.packed) // 4}I", address.packed)
        check = [
            (LOAD_BYTE, 0, 0, NETWORK_HEADER),
            (AND, 0, 0, 0xF0),
            (IF_EQUAL, 0, 2 * len(words) + 1, address.version << 4),
        ]
        for number, word in enumerate(words):
            check.append((LOAD_WORD, 0, 0, NETWORK_HEADER + DESTINATION[address.version] + 4 * number))
            check.append((IF_EQUAL, 0, 2 * (len(words) - 1 - number) + 1, word))
        program += [*check, (RETURN, 0, 0, WHOLE_PACKET)]
    return [*program, (RETURN, 0, 0, 0)]


def _attach(descriptor: int, program: list[tuple[int, int, int, int]]) -> None:
    instructions = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    with _borrowed(descriptor) as borrowed:
        pointer = struct.pack("HP", len(program), ctypes.addressof(instructions))
        borrowed.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)
