"""Runs a command for each connection, with the socket as its output: address, port, command."""

import socket
import subprocess
import sys


def main(address: str, port: str, command: list[str]) -> None:
    with socket.create_server((address, int(port)), backlog=64) as server:
        while True:
            connection, _ = server.accept()
            with connection:
                subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=connection.fileno())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
