"""What a QUIC client must not do, done by aioquic: frames and transport parameters that it would
never send. Usage: quic_attacks.py PORT CASE...; one JSON line for each case, with the code that the
server closed with, or none where it did not, and whether it still answers then."""

import json
import os
import socket
import ssl
import sys
import time

from aioquic import tls
from aioquic.buffer import encode_uint_var as var
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType

PATIENCE = 15


class Rude(QuicConnection):
    """Writes raw frames beside its own."""

    def __init__(self, parameters=None, first=(), **options):
        super().__init__(**options)
        self.rude = []
        # Frames for Initial packets ahead of the ClientHello.
        self.first = list(first)
        self.parameters = parameters
        # Whether it acknowledges what it has not received.
        self.is_optimist = False
        # A frame for 0-RTT packets, and what is done to packets of a level from the first one on.
        self.early = None
        self.bent = None
        self.has_parameters = True

    def _initialize(self, peer_cid):
        super()._initialize(peer_cid)
        if not self.has_parameters:
            self.tls.handshake_extensions = []
        if self.bent:
            self.bend(*self.bent)

    def bend(self, epoch, change, forged=False, most=1 << 30):
        """Changes the first octet of so many packets, before they are sealed; behind that an octet
        of those that are to be forged."""
        pair, count = self._cryptos[epoch], 0
        plain = pair.encrypt_packet

        def encrypt(header, payload, number):
            nonlocal count
            count += 1
            if count > most:
                return plain(header, payload, number)
            sealed = plain(bytes([change(header[0])]) + header[1:], payload, number)
            return sealed[:-1] + bytes([sealed[-1] ^ 1]) if forged else sealed

        pair.encrypt_packet = encrypt

    def _write_ack_frame(self, builder, space, now):
        if self.is_optimist and len(space.ack_queue):
            space.ack_queue.add(0, space.ack_queue.bounds().stop)
        super()._write_ack_frame(builder, space, now)

    def _write_handshake(self, builder, epoch, now):
        while epoch == tls.Epoch.INITIAL and self.first:
            kind, body = self.first.pop(0)
            builder.start_packet(QuicPacketType.INITIAL, self._cryptos[epoch])
            builder.start_frame(kind, capacity=len(body) + 8).push_bytes(body)
        super()._write_handshake(builder, epoch, now)

    def _write_application(self, builder, network_path, now):
        crypto = self._cryptos[tls.Epoch.ZERO_RTT]
        if self.early and crypto.send.is_valid():
            builder.start_packet(QuicPacketType.ZERO_RTT, crypto)
            kind, body = self.early
            self.early = None
            builder.start_frame(kind, capacity=len(body) + 8).push_bytes(body)
        if self._cryptos[tls.Epoch.ONE_RTT].send.is_valid():
            while self.rude:
                builder.start_packet(QuicPacketType.ONE_RTT, self._cryptos[tls.Epoch.ONE_RTT])
                kind, body = self.rude[0]
                builder.start_frame(kind, capacity=len(body) + 8).push_bytes(body)
                self.rude.pop(0)
        super()._write_application(builder, network_path, now)

    def _serialize_transport_parameters(self):
        plain = super()._serialize_transport_parameters()
        return self.parameters(plain) if self.parameters else plain


class Client:
    def __init__(self, port, parameters=None, token=b"", ticket=None, **frames):
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, token=token
        )
        configuration.server_name = "localhost"
        configuration.session_ticket = ticket
        self.tickets = []
        handler = self.tickets.append
        self.quic = Rude(
            parameters, configuration=configuration, session_ticket_handler=handler, **frames
        )
        self.to = ("127.0.0.1", port)
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.connect(self.to)
        self.http = None
        self.end = None
        self.bodies = {}
        self.ready = False
        # Every other full datagram is lost on its way here, of so many that came.
        self.loses = False
        self.full = 0

    def connect(self, patience=PATIENCE):
        self.quic.connect(self.to, now=time.time())
        if self.quic.configuration.session_ticket:
            # A server that takes early data opens its streams before the handshake is complete.
            self.http = H3Connection(self.quic)
        self.run(lambda: self.ready or self.end, patience)
        if self.ready and not self.end and not self.http:
            self.http = H3Connection(self.quic)
        return self

    def step(self, wait=0.01):
        for datagram, _ in self.quic.datagrams_to_send(now=time.time()):
            try:
                self.udp.send(datagram)
            except ConnectionRefusedError:
                pass
        self.udp.settimeout(wait)
        while True:
            try:
                datagram = self.udp.recv(65536)
            except (TimeoutError, BlockingIOError):
                break
            self.udp.setblocking(False)
            self.full += len(datagram) > 1000
            if self.loses and len(datagram) > 1000 and self.full % 2:
                continue
            self.quic.receive_datagram(datagram, self.to, now=time.time())
        timer = self.quic.get_timer()
        if timer is not None and timer <= time.time():
            self.quic.handle_timer(now=time.time())
        while (event := self.quic.next_event()) is not None:
            if isinstance(event, events.HandshakeCompleted):
                self.ready = True
            if isinstance(event, events.ConnectionTerminated):
                self.end = event
            if self.http:
                for part in self.http.handle_event(event):
                    if isinstance(part, DataReceived):
                        self.bodies[part.stream_id] = self.bodies.get(part.stream_id, b"") + part.data

    def run(self, until, patience=PATIENCE):
        end = time.time() + patience
        while not until():
            if time.time() > end:
                return False
            self.step()
        return True

    def get(self, path):
        stream = self.quic.get_next_available_stream_id()
        head = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"localhost")]
        self.http.send_headers(stream, head + [(b":path", path)], end_stream=True)
        self.run(lambda: self.bodies.get(stream) or self.end)
        return self.bodies.get(stream, b"")

    def send(self, frames, settle=0.3):
        """Frames now; then until the server closes, or a while."""
        self.quic.rude += frames
        self.run(lambda: self.end or not self.quic.rude)
        self.run(lambda: self.end, settle)


def frame(kind, *numbers, tail=b""):
    return (kind, b"".join(var(number) for number in numbers) + tail)


def parameters(change):
    """Changes transport parameters: a dictionary from identifier to octets."""

    def apply(plain):
        from aioquic.buffer import Buffer

        buffer, found = Buffer(data=plain), []
        while not buffer.eof():
            kind = buffer.pull_uint_var()
            found.append((kind, buffer.pull_bytes(buffer.pull_uint_var())))
        return b"".join(var(kind) + var(len(value)) + value for kind, value in change(found))

    return apply


def put(kind, value):
    return parameters(lambda found: [pair for pair in found if pair[0] != kind] + [(kind, value)])


def twice(found):
    return found + [found[0]]


def behind(octets):
    return lambda plain: plain + octets


def without(kind):
    return parameters(lambda found: [pair for pair in found if pair[0] != kind])


MOST = (1 << 62) - 1

# Row 74: identifier and value, none of which a client may send.
PARAMETERS = {
    "ack_delay_exponent": put(0x0A, var(21)),
    "max_ack_delay": put(0x0B, var(1 << 14)),
    "max_udp_payload_size": put(0x03, var(1199)),
    "active_connection_id_limit": put(0x0E, var(1)),
    "max_streams_bidi": put(0x08, var((1 << 60) + 1)),
    "max_streams_uni": put(0x09, var((1 << 60) + 1)),
    "original_destination": put(0x00, b"12345678"),
    "stateless_reset_token": put(0x02, b"0123456789abcdef"),
    "preferred_address": put(0x0D, bytes(41)),
    "retry_source": put(0x10, b"12345678"),
    "twice": parameters(twice),
    "unknown_twice": behind(var(0x7B) + var(0) + var(0x7B) + var(0)),
    "idle_cut": put(0x01, b"\xff"),
    "idle_long": put(0x01, var(5) + b"\0"),
    "data_empty": put(0x04, b""),
    "datagrams_cut": put(0x20, b"\x80"),
    "migration_not_empty": put(0x0C, b"\x01"),
    "cut": lambda plain: plain[:-1],
    "trailing": behind(b"\x40"),
    "length_beyond": behind(var(0x7B) + var(4) + b"abc"),
    "other_source": put(0x0F, b"not the one"),
    "empty_source": put(0x0F, b""),
    "no_source": without(0x0F),
    "nothing": lambda plain: b"",
    "migration": put(0x0C, b""),
    "reserved": behind(var(0x1B) + var(3) + b"any"),
    "extremes": parameters(
        lambda found: [(k, var(MOST) if k in (1, 4, 5, 6, 7) else v) for k, v in found]
    ),
}


def holes(stream, count, step=2):
    """Single octets with a hole before each (or the first, if step is 1), many frames in one."""
    out = []
    for start in range(0, count, 100):
        one = [var(stream) + var(step * at + 1) + b"\x01x" for at in range(start, start + 100)]
        out.append((0x0E, b"\x0e".join(one)))
    return out


def overlaps(stream, count, size):
    """Frames that each begin one octet before the last, behind a hole: one new octet in each."""
    content = bytes(size)
    return [frame(0x0E, stream, 1 + at, size, tail=content) for at in reversed(range(count))]


def crypto(count):
    """Single octets of a handshake that never get in order, for Initial packets."""
    one = [var(2 * at + 1001) + b"\x01x" for at in range(100)]
    return [(0x06, b"\x06".join(one)) for _ in range(count // 100)]


def connection_ids(count, retire):
    for n in range(1, count + 1):
        yield frame(0x18, 100 + n, 100 + n if retire else 0, tail=b"\x08" + os.urandom(8 + 16))


# Ten octets that HTTP/3 skips: a frame of a reserved type.
SKIPPED = b"\x21\x08" + bytes(8)

# Which aioquic itself does not come to.
STREAM = 40


def ended(more):
    """A stream that ends behind ten octets, and then more."""
    return frame(0x0F, STREAM, 0, 10, tail=SKIPPED + more)


FRAMES = {
    # Row 69.
    "crypto": lambda: [frame(0x06, 1 << 20, 4, tail=b"late")],
    # Row 71.
    "ack_unsent": lambda: [frame(0x02, 1 << 30, 0, 0, 0)],
    "ack_next": lambda: [frame(0x02, 500, 0, 0, 499)],
    "ack_below_zero": lambda: [frame(0x02, 0, 0, 0, 5)],
    # Row 72.
    "retire_unknown": lambda: [frame(0x19, 1000)],
    "new_cid_flood": lambda: list(connection_ids(200, False)),
    "new_cid_retire": lambda: list(connection_ids(2000, True)),
    "new_cid_short": lambda: [frame(0x18, 200, 201, tail=b"\x08" + bytes(24))],
    "challenges": lambda: [(0x1A, b"\x1a".join([os.urandom(8)] * 100))] * 200,
    # Row 73.
    "holes": lambda: [f for stream in range(STREAM, STREAM + 16, 4) for f in holes(stream, 8_000)],
    "some_holes": lambda: [f for s in range(STREAM, STREAM + 16, 4) for f in holes(s, 2_000)],
    "all_holes": lambda: [f for s in range(STREAM, STREAM + 60, 4) for f in holes(s, 65_400, 1)],
    "overlaps": lambda: [f for s in range(STREAM, STREAM + 8, 4) for f in overlaps(s, 16_000, 512)],
    "crypto_holes": lambda: crypto(2000),
    # Row 93.
    "stop_above": lambda: [frame(0x05, 4 * 100, 0)],
    "reset_above": lambda: [frame(0x04, 4 * 100, 0, 0)],
    "reset_uni_above": lambda: [frame(0x04, 4 * 16 + 2, 0, 0)],
    "max_data_above": lambda: [frame(0x11, 4 * 100, 9)],
    "blocked_above": lambda: [frame(0x15, 4 * 100, 9)],
    "blocked_uni_above": lambda: [frame(0x15, 4 * 16 + 2, 9)],
    "blocked_far_above": lambda: [frame(0x15, MOST - 3, MOST)],
    "blocked_last": lambda: [frame(0x15, 4 * 99, 9), frame(0x15, 4 * 15 + 2, 9)],
    "blocked_theirs": lambda: [frame(0x15, 3, 9)],
    "blocked_none": lambda: [frame(0x15, 1, 9)],
    "max_data_none": lambda: [frame(0x11, 1, 9)],
    # Row 79. Two frames of one packet, so that no answer comes between.
    "reset_beyond": lambda: [frame(0x04, STREAM, 0, MOST)],
    "reset_changed": lambda: [ended(b"\x04" + var(STREAM) + var(0) + var(20))],
    "reset_below": lambda: [ended(b"\x04" + var(STREAM) + var(0) + var(5))],
    "data_beyond_end": lambda: [ended(b"\x0e" + var(STREAM) + var(10) + var(4) + b"more")],
    # What RFC 9000 names besides.
    "window": lambda: [frame(0x0E, STREAM, 1 << 40, 1, tail=b"x")],
    "offset": lambda: [frame(0x0E, STREAM, MOST, 1, tail=b"x")],
    "streams": lambda: [frame(0x0E, 4 * 100_000, 0, 1, tail=b"x")],
    "own_stream": lambda: [frame(0x0E, 1, 0, 1, tail=b"x")],
    "receive_only": lambda: [frame(0x0E, 3, 0, 1, tail=b"x")],
    "stop_uni": lambda: [frame(0x05, 2, 0)],
    "done": lambda: [(0x1E, b"")],
    "new_token": lambda: [frame(0x07, 4, tail=b"none")],
    "unknown": lambda: [(0x3F, b"")],
    "max_streams": lambda: [frame(0x12, (1 << 60) + 1)],
}


RESERVED_OF_LONG = [0x04, 0x08, 0x0C]
EPOCHS = {
    "initial": tls.Epoch.INITIAL,
    "early": tls.Epoch.ZERO_RTT,
    "handshake": tls.Epoch.HANDSHAKE,
    "application": tls.Epoch.ONE_RTT,
}

# F2: frames that are for no 0-RTT packet (RFC 9000 section 12.4, RFC 9001 section 8.3).
EARLY = {
    "crypto": frame(0x06, 0, 4, tail=b"late"),
    "ack": frame(0x02, 0, 0, 0, 0),
    "done": (0x1E, b""),
    "retire": frame(0x19, 0),
    "ping": (0x01, b""),
}


def resume(port):
    """A client that has a ticket."""
    client = Client(port).connect()
    assert client.get(b"/hello") == b"hello" and client.run(lambda: client.tickets)
    client.quic.close()
    client.step(0)
    return Client(port, ticket=client.tickets[0])


def bent(port, level, change, most):
    """A client that changes the first octets of packets of a level: so many of them, which are then
    forged, or all."""
    change = int(change, 0)
    apply = (lambda first: first & ~0x40) if change == 0x40 else (lambda first: first | change)
    how = (EPOCHS[level], apply, most > 0, most or 1 << 30)
    client = resume(port) if level == "early" else Client(port)
    client.quic.early = EARLY["ping"] if level == "early" else None
    if level == "application":
        client.connect()
        assert client.get(b"/hello") == b"hello"
        client.quic.bend(*how)
        client.send([(0x01, b"")] * 3)
    else:
        client.quic.bent = how
        client.connect(patience=5)
    return client


# Row 70: none that the server has made. aioquic's go into its Initial.
TOKENS = {
    "token": b"\x00forged" + os.urandom(60),
    "token:type": b"\x00",
    "token:zeros": bytes(64),
    "token:long": os.urandom(700),
}


def run(port, name):
    if name == "parameter:none":
        client = Client(port)
        client.quic.has_parameters = False
        client.connect(patience=5)
    elif name.startswith("parameter:"):
        client = Client(port, PARAMETERS[name.split(":")[1]]).connect(patience=5)
    elif name.startswith("early:"):
        client = resume(port)
        client.quic.early = EARLY[name.split(":")[1]]
        client.connect(patience=5)
    elif name.startswith("bits:"):
        client = bent(port, *name.split(":")[1:], most=0)
    elif name.startswith("forged:"):
        client = bent(port, *name.split(":")[1:], most=2)
    elif name == "unfixed":
        # A frame that closes, in packets that are to be discarded.
        client = Client(port).connect()
        assert client.get(b"/hello") == b"hello"
        client.quic.bend(tls.Epoch.ONE_RTT, lambda first: first & ~0x40, most=1)
        client.send(FRAMES["unknown"]())
    elif name.startswith("first:"):
        client = Client(port, first=FRAMES[name.split(":")[1]]()).connect()
    elif name in TOKENS:
        client = Client(port, token=TOKENS[name]).connect()
    elif name in ("honest", "optimist"):
        # Row 71: a download over a path that takes half of it.
        client = Client(port).connect()
        assert client.get(b"/hello") == b"hello"
        client.quic.is_optimist = name == "optimist"
        client.loses = True
        client.get(b"/big")
        client.run(lambda: client.end, 3)
        client.loses = False
    elif name == "change_cids":
        client = Client(port).connect()
        for _ in range(300):
            client.run(lambda: client.quic._peer_cid_available or client.end, 5)
            client.quic.change_connection_id()
            client.step(0)
    else:
        client = Client(port).connect()
        assert client.get(b"/hello") == b"hello"
        client.send(FRAMES[name]())
    # First whether it is alive: the server's word may be on its way still.
    alive = client.end is None and client.ready and client.get(b"/hello") == b"hello"
    code = client.end.error_code if client.end else None
    reason = client.end.reason_phrase if client.end else ""
    print(json.dumps({"case": name, "code": code, "reason": reason, "alive": alive}), flush=True)
    client.quic.close()
    client.step(0)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        run(int(sys.argv[1]), name)
