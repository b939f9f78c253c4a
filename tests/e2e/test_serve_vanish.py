"""serve: a thousand clients vanish at random points, and nothing of theirs stays."""

import json
import os
import random
import socket
import struct
import threading

from qwserve import Server
from qwtest import check

N_THREADS = 8
N_CLIENTS = int(os.environ.get("QW_TEST_CLIENTS", "1000"))


def vanish(server, rng):
    """One client: sends a part of a request or all of it, reads a part of the answer, leaves."""
    stream = rng.random() < 0.7
    body = {"prompt": [rng.randrange(3000) for _ in range(rng.choice((1, 20, 300, 1500)))],
            "max_tokens": rng.choice((1, 30, 400, 2000)), "ignore_eos": True, "stream": stream,
            "n": rng.choice((1, 1, 3)), "temperature": 1.0, "seed": rng.randrange(10**6)}
    data = json.dumps(body).encode()
    # Without keep-alive, or who has read a whole answer would wait for more.
    head = (f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n").encode()
    data = head + data
    how = rng.random()
    with server.connect() as c:
        if how < 0.2:
            c.sendall(data[:rng.randrange(len(data))])
        else:
            c.sendall(data)
            if how < 0.3:
                c.shutdown(socket.SHUT_WR)  # half-closed counts as gone
            elif how < 0.8 and stream:
                want = rng.randrange(1, 3000)
                while want > 0 and (part := c.recv(want)):
                    want -= len(part)
        if rng.random() < 0.5:  # with a reset instead of a polite end
            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


with Server("--max-num-seqs", "16", "--num-gpu-blocks-override", "512") as server:
    healthy = server.must("/v1/completions", {"prompt": "47 + 38 =", "temperature": 0, "max_tokens": 40})

    def work(seed):
        rng = random.Random(seed)
        for _ in range(N_CLIENTS // N_THREADS):
            vanish(server, rng)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(N_THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    server.wait_idle()
    again = server.must("/v1/completions", {"prompt": "47 + 38 =", "temperature": 0, "max_tokens": 40})
    check(again["choices"] == healthy["choices"], "the same answer afterwards")
print(f"{N_CLIENTS} clients vanished; no block is held")
