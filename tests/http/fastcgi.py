"""FastCGI 1.0, byte by byte: what a web server sends a worker over its socket.

Nothing here is taken from libfcgi, so that the tests do not share its mistakes.
"""

import socket
import struct

from client import Reply

(
    BEGIN_REQUEST,
    ABORT_REQUEST,
    END_REQUEST,
    PARAMS,
    STDIN,
    STDOUT,
    STDERR,
    DATA,
    GET_VALUES,
    GET_VALUES_RESULT,
    UNKNOWN_TYPE,
) = range(1, 12)

RESPONDER = 1
KEEP_CONNECTION = 1
RECORD_MAX = 65535


def record(kind, content=b"", request_id=1, padding=0):
    header = struct.pack(">BBHHBx", 1, kind, request_id, len(content), padding)
    return header + content + bytes(padding)


def stream(kind, content, request_id=1):
    """A whole stream: as many records as it takes, and the empty one that ends it."""
    parts = [content[i : i + RECORD_MAX] for i in range(0, len(content), RECORD_MAX)]
    return b"".join(record(kind, part, request_id) for part in parts + [b""])


def length(number):
    return bytes([number]) if number < 128 else struct.pack(">I", number | 1 << 31)


def pair(name, value):
    name, value = name.encode("latin-1"), value.encode("latin-1")
    return length(len(name)) + length(len(value)) + name + value


def pairs(values):
    return b"".join(pair(name, value) for name, value in values.items())


def begin(request_id=1, keep=False, role=RESPONDER):
    flags = KEEP_CONNECTION if keep else 0
    return record(BEGIN_REQUEST, struct.pack(">HB5x", role, flags), request_id)


def request(environment, body=b"", request_id=1, keep=False):
    return (
        begin(request_id, keep)
        + stream(PARAMS, pairs(environment), request_id)
        + stream(STDIN, body, request_id)
    )


ROOTS = ("/api/token", "/api/usage/token", "/api/status", "/v1/dashboard/billing", "/api/user", "/api/log", "/healthz",
         "/metrics")


def environment(method, target, headers=None, body=b"", script=None):
    """The CGI variables of a request (RFC 3875), for FastCGI and plain CGI alike."""
    path, _, query = target.partition("?")
    if script is None:
        script = next(root for root in ROOTS if path.startswith(root))
    assert path.startswith(script)
    variables = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": script,
        "PATH_INFO": path[len(script) :],
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)) if body else "",
        "REMOTE_ADDR": "127.0.0.1",
    }
    for name, value in (headers or {}).items():
        variables["HTTP_" + name.upper().replace("-", "_")] = value
    return variables


class Connection:
    """A connection to a worker's socket: a path, or (host, port)."""

    def __init__(self, address, timeout=30):
        is_tcp = isinstance(address, tuple)
        self.socket = socket.socket(socket.AF_INET if is_tcp else socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(address if is_tcp else str(address))
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def finish(self):
        """Tells the peer that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def read(self, count):
        """Exactly count bytes, or None where the peer closed before the first."""
        while len(self.received) < count:
            data = self.socket.recv(1 << 16)
            if not data:
                assert not self.received, f"closed in the middle: {self.received!r}"
                return None
            self.received += data
        wanted, self.received = self.received[:count], self.received[count:]
        return wanted

    def read_record(self):
        """The next record as (kind, request id, content), or None at the end."""
        header = self.read(8)
        if header is None:
            return None
        version, kind, request_id, content_length, padding = struct.unpack(">BBHHBx", header)
        assert version == 1
        content = self.read(content_length + padding) if content_length + padding else b""
        return kind, request_id, content[:content_length]

    def read_reply(self, request_id=1):
        """Everything up to END_REQUEST, as the reply that a client would see."""
        output = b""
        while True:
            received = self.read_record()
            assert received is not None, f"closed before END_REQUEST, after {output!r}"
            kind, record_id, content = received
            assert record_id == request_id
            if kind == END_REQUEST:
                application_status, protocol_status = struct.unpack(">IB3x", content)
                assert (application_status, protocol_status) == (0, 0)
                return parse_cgi(output)
            assert kind == STDOUT, f"record of kind {kind}: {content!r}"
            output += content

    def read_until_closed(self):
        """What is left until the peer closes; a reset counts as closing."""
        data, self.received = self.received, b""
        try:
            while more := self.socket.recv(1 << 16):
                data += more
        except ConnectionResetError:
            pass
        return data

    def ask(self, method, target, headers=None, body=b"", keep=True):
        self.send(request(environment(method, target, headers, body), body, keep=keep))
        return self.read_reply()


def parse_cgi(output):
    """A CGI answer (RFC 3875 section 6) as a reply."""
    head, separator, body = output.partition(b"\r\n\r\n")
    assert separator, f"no end of the headers: {output[:200]!r}"
    headers = {}
    for line in head.decode("ascii").split("\r\n"):
        name, _, value = line.partition(":")
        assert name.lower() not in headers, f"{name} twice"
        headers[name.lower()] = value.strip()
    status = int(headers.pop("status", "200").split()[0])
    return Reply(status, headers, body)


def transport(address):
    """A way to send requests, for Client: one new connection each."""

    def send(method, target, headers, body):
        with Connection(address) as connection:
            return connection.ask(method, target, headers, body or b"", keep=False)

    return send
