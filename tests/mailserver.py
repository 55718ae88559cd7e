"""A real mail server on a socket, that can refuse."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

OK = "250 ok"


class MailServer:
    """`answers` says what a command is answered in place of OK: {"RCPT": "550 no such user"}."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, str] = {}
        self.received: list[EmailMessage] = []
        self.is_silent = False
        self.over = threading.Event()


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server: MailServer = self.server.mail  # type: ignore[attr-defined]
        if server.is_silent:
            server.over.wait(20)
            return
        self._say("220 mail.example.com")
        while line := self.rfile.readline().decode().strip():
            command = line.partition(" ")[0].upper()
            self._say(server.answers.get(command) or {"DATA": "354 go on", "QUIT": "221 bye"}.get(command, OK))
            if command == "DATA" and "DATA" not in server.answers:
                server.received.append(self._read_message())
                self._say(server.answers.get(".", OK))

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _read_message(self) -> EmailMessage:
        lines = iter(self.rfile.readline, b".\r\n")
        message: EmailMessage = message_from_bytes(b"".join(lines), policy=policy.default)
        return message


@contextmanager
def running_mail_server() -> Iterator[MailServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True
        mail = server.mail = MailServer(server.server_address[1])  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield mail
        finally:
            mail.over.set()
            server.shutdown()
