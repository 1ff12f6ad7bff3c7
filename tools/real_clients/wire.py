"""What goes over the wire: a relay that keeps it, and a comparison of what a client sent with what arrived."""

import collections
import contextlib
import dataclasses
import re
import select
import socket
import threading
from collections.abc import Iterator

# What one connection owns (RFC 9110 §7.6.1), and what the gateway takes out of a request before it writes its own credential.
CONNECTION_HEADERS = {"host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect"}
CREDENTIAL_HEADERS = {"authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"}
# What a provider's entry of the catalogue writes beside the credential.
COMPANIONS = {"anthropic-version", "anthropic-beta", "chatgpt-account-id"}


@dataclasses.dataclass
class Head:
    """The first line and the headers of a message, and its body where that has a length."""

    first: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name]

    @property
    def path(self) -> str:
        return self.first.split(" ")[1]


def parse(stream: bytes) -> Iterator[tuple[Head, bytes]]:
    """The messages of one direction of a connection, each with what follows its head."""
    while b"\r\n\r\n" in stream:
        head, stream = stream.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines]
        message = Head(first, [(name, value.strip()) for name, _, value in pairs], b"")
        length = int(next(iter(message.values("content-length")), 0))
        message.body = stream[:length]
        yield message, stream
        stream = stream[length:]


class Relay:
    """A listener that passes bytes on to an address and keeps them; without an address it refuses, and keeps the first line."""

    def __init__(self, to: str | None):
        self.to = to
        self.connections: list[tuple[bytearray, bytearray]] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        kept = (bytearray(), bytearray())
        self.connections.append(kept)
        with contextlib.suppress(OSError), client:
            if self.to is None:
                kept[0].extend(client.recv(65536))
                client.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                return
            host, port = self.to.split(":")
            with socket.create_connection((host, int(port))) as server:
                self._shovel({client: (server, kept[0]), server: (client, kept[1])})

    @staticmethod
    def _shovel(ways: dict[socket.socket, tuple[socket.socket, bytearray]]) -> None:
        while ways:
            for source in select.select(list(ways), [], [])[0]:
                target, kept = ways[source]
                try:
                    data = source.recv(65536)
                except ConnectionResetError:
                    return  # both ends close, and each sees that the other did
                if data:
                    kept.extend(data)
                    target.sendall(data)
                else:
                    del ways[source]
                    with contextlib.suppress(OSError):
                        target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.listener.close()

    def requests(self) -> list[Head]:
        return [head for sent, _ in self.connections for head, _ in parse(bytes(sent))]

    def statuses(self) -> list[int]:
        """Statuses of all answers, also where a body without a length hides where the next one starts."""
        return [int(status) for _, got in self.connections for status in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", bytes(got))]

    def retry_after(self) -> list[str]:
        return [value.decode() for _, got in self.connections for value in re.findall(rb"^retry-after: (.+)\r$", bytes(got), re.M | re.I)]

    def wanted(self) -> list[str]:
        """Whom those asked for who took this for a proxy."""
        first = [bytes(sent).split(b"\r\n")[0].decode(errors="replace").split(" ") for sent, _ in self.connections]
        return sorted({line[1] for line in first if len(line) > 1})


def differences(sent: list[Head], arrived: list[dict]) -> Iterator[str]:
    """Compares every request at the provider with one of the client's: body, query, headers, their values and their order."""
    for request in arrived:
        path, _, query = request["path_and_query"].partition("?")
        candidates = [head for head in sent if head.body.decode(errors="replace") == request["body"] and tail(head.path) == tail(path)]
        if not candidates:
            yield f"no client sent the body of {request['method']} {path}"
            continue
        wrong = [sorted(set(compare(head, query, request["headers"]))) for head in candidates]
        if all(wrong):
            yield f"{request['method']} {path}: {'; '.join(min(wrong, key=len))}"


def tail(path: str) -> str:
    """The operation of a path, whatever its base."""
    return path.partition("?")[0].rsplit("/", 1)[-1]


def compare(head: Head, query: str, arrived: list[list[str]]) -> Iterator[str]:
    own = CONNECTION_HEADERS | CREDENTIAL_HEADERS
    if head.path.partition("?")[2] != query:
        yield f"query {query!r}"
    before = [(name.lower(), value) for name, value in head.headers if name.lower() not in own]
    after = [(name.lower(), value.strip()) for name, value in arrived if name.lower() not in own]
    for name in COMPANIONS:
        # What the client said must still be there, at the same place; more may stand beside it.
        said = [value for known, value in before if known == name]
        says = [value for known, value in after if known == name]
        if said and not (says and all(flag in says[0].split(",") for flag in said[0].split(","))):
            yield f"{name} changed from {said} to {says}"
        after = [pair for pair in after if pair[0] != name]
        before = [pair for pair in before if pair[0] != name]
    yield from (f"lost or changed {name}" for name, _ in collections.Counter(before) - collections.Counter(after))
    yield from (f"new or changed {name}" for name, _ in collections.Counter(after) - collections.Counter(before))
    if sorted(before) == sorted(after) and before != after:
        yield "headers in another order"


def self_test() -> None:
    """Fails unless a request that only got another credential passes, and each planted change is noticed."""
    head = "POST /openai/v1/x?a=1 HTTP/1.1\r\nHost: a\r\nX-Api-Key: clv_1\r\nanthropic-beta: b1,b2\r\nB: 1\r\nA: 2\r\nContent-Length: 2\r\n\r\n{}"
    sent = [message for message, _ in parse(head.encode())]
    headers = [["anthropic-beta", "b1,b2,b3"], ["b", "1"], ["a", "2"], ["content-length", "2"], ["host", "b"], ["authorization", "Bearer t"]]
    good = {"method": "POST", "path_and_query": "/v1/x?a=1", "headers": headers, "body": "{}"}
    planted = [
        {"body": "{ }"},
        {"path_and_query": "/v1/x"},
        {"path_and_query": "/v1/y?a=1"},
        {"headers": headers[1:]},
        {"headers": [["anthropic-beta", "b2,b3"], *headers[1:]]},
        {"headers": [headers[0], headers[2], headers[1], *headers[3:]]},
        {"headers": [headers[0], ["b", "2"], *headers[2:]]},
        {"headers": [headers[0], *headers[2:]]},
        {"headers": [*headers, ["x-new", "1"]]},
        {"headers": [*headers, ["b", "1"]]},
    ]
    assert not list(differences(sent, [good])), "an unchanged request was taken for a changed one"
    for change in planted:
        assert list(differences(sent, [{**good, **change}])), f"nobody noticed {change}"
    print(f"real-clients: an unchanged request passed, {len(planted)} planted changes were noticed")
