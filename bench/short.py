#!/usr/bin/env python3
"""Short connections: open, ask ten times in one write, read the answers, close; again and again.

    bench/short.py PORT SECONDS CONNECTIONS

CONNECTIONS is the number open at a time. Prints `N requests in S` and `Requests/sec`, as wrk does.
A slow generator is enough, because the server's CPU time per request is measured.
"""

import selectors
import socket
import sys
import time

REQUEST = b"GET /baseline11?a=13&b=42 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
DEPTH = 10


def main():
    port, seconds, connections = (int(word) for word in sys.argv[1:4])
    chosen = selectors.DefaultSelector()
    answered, errors, until = 0, 0, time.monotonic() + seconds

    def dial():
        peer = socket.create_connection(("127.0.0.1", port))
        peer.sendall(REQUEST * DEPTH)
        chosen.register(peer, selectors.EVENT_READ, [0])

    for _ in range(connections):
        dial()
    started = time.monotonic()
    while time.monotonic() < until:
        for key, _ in chosen.select(1):
            data = key.fileobj.recv(65536)
            key.data[0] += data.count(b"HTTP/1.1 200 OK")
            if data and key.data[0] < DEPTH:
                continue
            answered += key.data[0]
            errors += key.data[0] != DEPTH
            chosen.unregister(key.fileobj)
            key.fileobj.close()
            dial()
    took = time.monotonic() - started
    print(f"{answered} requests in {took:.2f}s")
    print(f"Socket errors: connect 0, read {errors}, write 0, timeout 0")
    print(f"Requests/sec: {answered / took:.2f}")


main()
