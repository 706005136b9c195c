"""aioquic as a client that keeps the rules. Usage: h3_clients.py PORT; prints a JSON object."""

import asyncio
import hashlib
import json
import socket
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration


class Measured(H3Connection):
    """Notes what QPACK costs."""

    sections = None
    inserts = 0

    def _decode_headers(self, stream_id, frame_data):
        self.sections = (self.sections or []) + [len(frame_data or b"")]
        return super()._decode_headers(stream_id, frame_data)

    def _receive_stream_data_uni(self, stream, data, stream_ended):
        parts = super()._receive_stream_data_uni(stream, data, stream_ended)
        if stream.stream_id == self._peer_encoder_stream_id:
            self.inserts += len(data)
        return parts


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.http = Measured(self._quic)
        self.answers = {}

    def quic_event_received(self, event):
        for part in self.http.handle_event(event):
            heads, body, done = self.answers[part.stream_id]
            if isinstance(part, HeadersReceived):
                heads.append(dict(part.headers))
            elif isinstance(part, DataReceived):
                body.append(part.data)
            if part.stream_ended and not done.done():
                done.set_result(None)

    def ask(self, method, path, body=b"", more=()):
        stream = self._quic.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", "localhost")]
        head += [(":path", path), *more]
        head = [(name.encode(), value.encode()) for name, value in head]
        self.http.send_headers(stream, head, end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        self.answers[stream] = ([], [], asyncio.get_running_loop().create_future())
        return stream

    async def answer(self, stream):
        heads, body, done = self.answers[stream]
        await asyncio.wait_for(done, 60)
        return heads, b"".join(body)

    async def get(self, path, **options):
        return await self.answer(self.ask("GET", path, **options))

    async def rebind(self):
        """Another socket, of which QUIC is not told."""
        loop, old = asyncio.get_running_loop(), self._transport
        udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        udp.bind(("::", 0, 0, 0))
        await loop.create_datagram_endpoint(lambda: self, sock=udp)
        assert self._transport is not old


def configuration(**options):
    return QuicConfiguration(
        is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE,
        server_name="localhost", **options)


async def main(port):
    tickets, said = [], {}

    def open(ticket=None, wait=True):
        return connect(
            "127.0.0.1", port, configuration=configuration(session_ticket=ticket),
            create_protocol=Client, session_ticket_handler=tickets.append, wait_connected=wait)

    async with open() as client:
        heads, body = await client.get("/hello")
        said["first"] = [heads[0][b":status"].decode(), body.decode()]
        await asyncio.sleep(0.05)
        await client.get("/hello")
        await asyncio.sleep(0.05)
        await client.get("/hello")
        said["sections"], said["inserts"] = client.http.sections, client.http.inserts
        upload = bytes(range(256)) * 2000
        _, body = await client.answer(client.ask("POST", "/echo", upload))
        said["echo"] = body == upload
        heads, _ = await client.get("/hints/50")
        said["hints"] = [head[b":status"].decode() for head in heads]
        many = await asyncio.gather(*(client.get(f"/bytes/{n}") for n in range(60)))
        said["many"] = [len(body) for _, body in many] == [n << 10 for n in range(60)]
        client._quic.request_key_update()
        _, body = await client.get("/bytes/1000")
        said["sum"] = hashlib.sha256(body).hexdigest()
        fields = await client.get("/fields", more=[("cookie", "a=1"), ("x-long", "v" * 9000)])
        said["fields"] = b"cookie: a=1" in fields[1] and b"v" * 9000 in fields[1]
        # A move in the middle of a download, by the client's own will and by a NAT's.
        for moves in ("by will", "by a NAT"):
            stream = client.ask("GET", "/bytes/4000")
            while sum(map(len, client.answers[stream][1])) < 400_000:
                await asyncio.sleep(0.002)
            if moves == "by will":
                client.change_connection_id()
            await client.rebind()
            _, body = await client.answer(stream)
            said[moves] = hashlib.sha256(body).hexdigest()
        said["tickets"] = len(tickets)

    async with open(tickets[0], wait=False) as client:
        stream = client.ask("GET", "/hello")
        refused = client.ask("POST", "/echo", b"early")
        _, body = await client.answer(stream)
        said["early"] = [client._quic.tls.early_data_accepted, body.decode()]
        heads, _ = await client.answer(refused)
        said["early_post"] = heads[0][b":status"].decode()
    print(json.dumps(said))


asyncio.run(main(int(sys.argv[1])))
