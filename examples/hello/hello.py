"""Two units and a TCP connection between them."""

import socket

import probe


def receiver() -> None:
    """Takes one connection and reads greetings from it, one a line, until the other side hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe.ready("listening", port=server.getsockname()[1])
        connection, _ = server.accept()
        with connection, connection.makefile(encoding="utf-8") as lines:
            for line in lines:
                probe.receive("greeting-received", key=line.strip())


def sender() -> None:
    """Says hello ten times. Port 0 was a free one: the event that made the receiver ready says which."""
    port = probe.wait("receiver: listening").data["port"]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for number in range(1, 11):
            greeting = f"hello-{number}"
            probe.send("greeting-sent", key=greeting)
            connection.sendall(f"{greeting}\n".encode())
