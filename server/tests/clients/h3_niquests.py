"""niquests, whose HTTP/3 is qh3, as a client that finds HTTP/3 by itself. Usage: h3_niquests.py
PORT WITHOUT, the second of a server that has no HTTP/3 although the client was told so; or PORT
alone, of a server that the client was told to have it. Prints a JSON object."""

import hashlib
import json
import sys

import niquests
import urllib3

urllib3.disable_warnings()
port, *others = (int(argument) for argument in sys.argv[1:])


def session(**options):
    made = niquests.Session(**options)
    # Else the environment's certificates are demanded.
    made.trust_env, made.verify = False, False
    return made


def ask(made, at, count, path="/big.bin"):
    """The versions that the answers came by, in order, and the one hash of them all."""
    answers = [made.get(f"https://localhost:{at}{path}") for _ in range(count)]
    made.gather()
    assert all(answer.status_code == 200 for answer in answers)
    sums = {hashlib.sha256(answer.content).hexdigest() for answer in answers}
    return [answer.http_version for answer in answers], *sums


if not others:
    with session(quic_cache_layer={("localhost", port): ("localhost", port)}) as client:
        print(json.dumps(ask(client, port, 2, "/")))
    sys.exit()
without, said = others[0], {}
# The offer in the first answer is taken up by the second request.
with session() as client:
    said["offered"] = ask(client, port, 3)
# Known from the first request on, by several streams at once.
with session(quic_cache_layer={("localhost", port): ("localhost", port)}, multiplexed=True) as client:
    said["known"] = ask(client, port, 20)
    answer = client.get(f"https://localhost:{port}/none")
    client.gather()
    said["none"] = answer.status_code
# Told wrongly: nobody answers there.
with session(quic_cache_layer={("localhost", without): ("localhost", without)}) as client:
    said["wrong"] = ask(client, without, 2)
with session(disable_http3=True) as client:
    said["two"] = ask(client, port, 2)
with session(disable_http3=True, disable_http2=True) as client:
    said["one"] = ask(client, port, 2)
print(json.dumps(said))
