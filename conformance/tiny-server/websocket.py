"""The server's part of RFC 6455, without extensions and subprotocols."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import struct

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
CONTROL_BYTES_MAX = 125
FRAME_SECONDS = 30.0
"""How long a frame, or a message of several frames, may take from its first byte to its last (FRAME-5)."""


class HandshakeError(Exception):
    """The request is not one that opens a WebSocket here; the text is the HTTP status line."""


class FrameError(Exception):
    """A broken frame: close code 1002."""


class NotUtf8(Exception):
    """A text that is not UTF-8: close code 1007."""


class TooBig(Exception):
    """A message above the limit. What is behind its beginning was not read."""


class Binary(Exception):
    """A whole binary message."""


class PeerClosed(Exception):
    """The peer has sent a close frame. `code` is to be sent back; `None` if it gave none."""

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class WebSocket:
    """One connection, after `handshake` at least."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message_bytes_max: int) -> None:
        self._reader = reader
        self._writer = writer
        self._bytes_max = message_bytes_max
        self._close_sent = False
        self.last_heard = asyncio.get_running_loop().time()

    async def handshake(self, path: str) -> None:
        """Reads the HTTP request and answers it."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            key = _key_of_request(head.decode("latin-1"), path)
        except HandshakeError as error:
            extra = "Sec-WebSocket-Version: 13\r\n" if "426" in str(error) else ""
            self._writer.write(f"HTTP/1.1 {error}\r\n{extra}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
            raise
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
        self._writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )

    async def receive(self) -> str:
        """The next text message. Pings are answered on the way; everything else is one of the exceptions above."""
        parts: list[bytes] = []
        first: int | None = None  # the opcode of the message that has begun
        deadline: float | None = None
        while True:
            async with asyncio.timeout_at(deadline):
                start = await self._reader.readexactly(1)
            self.last_heard = asyncio.get_running_loop().time()
            deadline = deadline or self.last_heard + FRAME_SECONDS
            async with asyncio.timeout_at(deadline):
                room = self._bytes_max - sum(map(len, parts))
                final, opcode, payload = await self._frame(start[0], room)
            if opcode >= CLOSE:
                await self._control(opcode, payload)
                deadline = deadline if first is not None else None
                continue
            if (opcode == CONTINUATION) != (first is not None):
                raise FrameError("a continuation of nothing, or a new message inside of another")
            first = opcode if first is None else first
            parts.append(payload)
            if final:
                break
        if first == BINARY:
            raise Binary
        return _utf8(b"".join(parts))

    async def _frame(self, first_byte: int, room: int) -> tuple[bool, int, bytes]:
        """The rest of a frame, unmasked."""
        final, opcode = bool(first_byte & 0x80), first_byte & 0x0F
        second_byte = (await self._reader.readexactly(1))[0]
        length = second_byte & 0x7F
        if first_byte & 0x70 or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise FrameError("a reserved bit or opcode")
        if not second_byte & 0x80:
            raise FrameError("a client's frame is masked")
        if opcode >= CLOSE and (length > CONTROL_BYTES_MAX or not final):
            raise FrameError("a control frame is short and whole")
        if length >= 126:
            size = 2 if length == 126 else 8
            least = 126 if length == 126 else 65536
            length = int.from_bytes(await self._reader.readexactly(size), "big")
            if length < least or length >= 2**63:
                raise FrameError("a length is written as short as possible")
        if opcode < CLOSE and length > room:
            raise TooBig  # before its bytes are read
        mask = await self._reader.readexactly(4)
        payload = await self._reader.readexactly(length)
        # XOR of the whole payload at once: byte by byte takes Python too long.
        repeated = (mask * (length // 4 + 1))[:length]
        return final, opcode, (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(length, "big")

    async def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            await self.send_frame(PONG, payload)
        elif opcode == CLOSE:
            if not payload:
                raise PeerClosed(None)
            if len(payload) == 1:
                raise FrameError("half a close code")
            code = int.from_bytes(payload[:2], "big")
            if not (1000 <= code <= 1014 and code not in (1004, 1005, 1006) or 3000 <= code <= 4999):
                raise FrameError("no close code that may be sent")
            _utf8(payload[2:])
            raise PeerClosed(code)

    async def send_frame(self, opcode: int, payload: bytes) -> None:
        """Sends one whole frame, and waits while the peer is behind with reading."""
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, length)
        self._writer.write(head + payload)
        await self._writer.drain()

    async def send(self, text: str) -> None:
        await self.send_frame(TEXT, text.encode())

    async def ping(self) -> None:
        await self.send_frame(PING, b"")

    async def send_close(self, code: int | None, reason: str = "") -> None:
        """Sends a close frame, unless one was sent, and says that nothing comes behind it."""
        if not self._close_sent:
            self._close_sent = True
            await self.send_frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason.encode())
            with contextlib.suppress(OSError):  # the peer may have cut the connection meanwhile
                self._writer.write_eof()

    async def discard(self) -> None:
        """Reads to the end of the connection. Closing it with bytes unread could destroy what was sent last."""
        while await self._reader.read(65536):
            pass


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise NotUtf8 from error


def _key_of_request(head: str, path: str) -> str:
    """Checks the request and returns its `Sec-WebSocket-Key`."""
    request, *lines = head.split("\r\n")
    method, _, rest = request.partition(" ")
    target, _, version = rest.partition(" ")
    headers: dict[str, str] = {}
    for line in filter(None, lines):
        name, _, value = line.partition(":")
        name = name.strip().lower()
        headers[name] = f"{headers[name]},{value.strip()}" if name in headers else value.strip()
    if method != "GET" or version != "HTTP/1.1" or "host" not in headers:
        raise HandshakeError("400 Bad Request")
    if target.partition("?")[0] != path:
        raise HandshakeError("404 Not Found")
    connection = [item.strip().lower() for item in headers.get("connection", "").split(",")]
    if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in connection:
        raise HandshakeError("400 Bad Request")
    if headers.get("sec-websocket-version") != "13":
        raise HandshakeError("426 Upgrade Required")
    key = headers.get("sec-websocket-key", "")
    try:
        if len(base64.b64decode(key, validate=True)) == 16:
            return key
    except binascii.Error:
        pass
    raise HandshakeError("400 Bad Request")
