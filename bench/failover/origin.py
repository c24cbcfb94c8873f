#!/usr/bin/env python3
"""A member of the fail-over comparison: `origin.py ADDRESS PORT` answers every request with its address, and takes 50 ms
for each from SIGUSR1 on."""

import asyncio
import signal
import sys

ADDRESS, PORT = sys.argv[1], int(sys.argv[2])
SLOW_S = 0.05
delay_s = 0.0


def become_slow(*_):
    global delay_s
    delay_s = SLOW_S


signal.signal(signal.SIGUSR1, become_slow)


async def serve(reader, writer):
    try:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            if delay_s:
                await asyncio.sleep(delay_s)
            body = ADDRESS.encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, ADDRESS, PORT, backlog=128)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
