"""Looks at every packet that crosses a lab's network for some seconds, and counts those that hold one of the needles.

Usage: capture.py INTERFACE SECONDS < NEEDLES
INTERFACE is the bridge between the lab's hosts. Each line of the standard input is a needle. Prints a JSON object with
the number of packets, of those with TCP payload, and of those with each needle, which are named by their line's number.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time

ETH_P_ALL = 0x0003
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 263, 1, 1
SSH = 22


def tcp_payload(frame: bytes) -> bytes:
    """The payload of a TCP segment in an Ethernet frame; empty for everything else, and for the lab's own SSH."""
    if len(frame) < 54 or frame[12:14] != b"\x08\x00" or frame[23] != socket.IPPROTO_TCP:
        return b""
    segment = frame[14 + (frame[14] & 15) * 4 : 14 + struct.unpack("!H", frame[16:18])[0]]
    if len(segment) < 20 or SSH in struct.unpack("!HH", segment[:4]):
        return b""
    return segment[(segment[12] >> 4) * 4 :]


def main() -> None:
    interface, seconds = sys.argv[1], float(sys.argv[2])
    needles = [line.encode() for line in sys.stdin.read().splitlines() if line]
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sniffer.bind((interface, 0))
    request = struct.pack("IHH8s", socket.if_nametoindex(interface), PACKET_MR_PROMISC, 0, b"")
    sniffer.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, request)
    sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
    sniffer.settimeout(0.2)
    packets, payloads, found = 0, 0, [0] * len(needles)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            frame = sniffer.recv(65535)
        except socket.timeout:
            continue
        packets += 1
        payload = tcp_payload(frame)
        payloads += bool(payload)
        for number, needle in enumerate(needles):
            found[number] += needle in payload
    print(json.dumps({"packets": packets, "payloads": payloads, "found": found}))


if __name__ == "__main__":
    main()
