#!/usr/bin/env python3
"""Stands between a client and a server, and ends streams of events.

Whatever is asked goes on as it came, and the answer comes back as it is; of `text/event-stream` only the
first event, or what came within two seconds. So a tool that reads answers to their end can look at
streams that have none. Usage: first_event.py PORT, which is the server's; prints its own port.
"""

import socket
import sys
import threading

PATIENCE = 2.0
STREAM = b"content-type: text/event-stream"
upstream = int(sys.argv[1])


def head(sock):
    """Reads up to the empty line that ends a head; answers that and what came beyond it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return data, b""
        data += part
    end = data.index(b"\r\n\r\n") + 4
    return data[:end], data[end:]


def pump(source, target):
    """Passes on what comes until it ends."""
    try:
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client):
    with client, socket.create_connection(("127.0.0.1", upstream)) as server:
        asked, body = head(client)
        # One request for each connection, so that the end of the answer is the end of the connection.
        lines = [line for line in asked.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        lines.insert(1, b"Connection: close")
        server.sendall(b"\r\n".join(lines) + body)
        threading.Thread(target=pump, args=(client, server), daemon=True).start()
        answer, rest = head(server)
        client.sendall(answer)
        if STREAM not in answer.lower():
            client.sendall(rest)
            pump(server, client)
            return
        server.settimeout(PATIENCE)
        try:
            # A server sends an event as a chunk of its own.
            while b"\n\n\r\n" not in rest:
                part = server.recv(65536)
                if not part:
                    break
                rest += part
        except OSError:
            pass
        client.sendall(rest + b"0\r\n\r\n")


def main():
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=lambda c=client: quietly(c), daemon=True).start()


def quietly(client):
    try:
        serve(client)
    except OSError:
        pass


main()
