"""A small server of the protocol: `python3 server.py [--host 127.0.0.1] [--port 0]`.

Its first line says where it listens. Documents are in memory and gone with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal

from document import Document
from messages import check_out_of_place, field, number, opened_version, read_hello, read_op, string
from protocol import LIMITS, Close, Refusal, malformed
from session import Session
from strict_json import parse
from websocket import Binary, FrameError, HandshakeError, NotUtf8, PeerClosed, TooBig, WebSocket

PATH = "/ws"
HELLO_SECONDS = 10.0
"""How long a connection may take to the end of its `hello` (FRAME-5)."""
PING_SECONDS = 20.0
"""How often a connection that is sent nothing is pinged."""
SILENCE_SECONDS = 60.0
"""After how long without a byte from it a connection counts as half open."""
SEND_SECONDS = 60.0
"""How long the peer may not take anything that is sent."""
CLOSE_SECONDS = 5.0
"""How long a connection whose session has ended may take to end itself."""
GONE = (ConnectionError, asyncio.IncompleteReadError)


class Server:
    """All documents and connections of this process."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.connections: dict[asyncio.Task[None], Session] = {}

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection from its first byte to its last."""
        task = asyncio.current_task()
        assert task
        socket = WebSocket(reader, writer, LIMITS["message_bytes_max"])
        session = Session()
        self.connections[task] = session
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                await socket.handshake(PATH)
            await self._serve(socket, session)
        except (HandshakeError, asyncio.LimitOverrunError, TimeoutError, *GONE):
            pass
        finally:
            session.end_at_once(Close(1001, "shutdown"))  # it leaves its document; nothing is sent any more
            self._forget(session.doc_id)
            del self.connections[task]
            with contextlib.suppress(*GONE):
                writer.close()
                # A peer that does not take the last bytes is not waited for.
                asyncio.get_running_loop().call_later(CLOSE_SECONDS, writer.transport.abort)

    async def _serve(self, socket: WebSocket, session: Session) -> None:
        reading = asyncio.create_task(self._read(socket, session))
        sending = asyncio.create_task(self._send(socket, session))
        try:
            await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await reading  # raises if the peer is gone or has begun to close
            async with asyncio.timeout(CLOSE_SECONDS):
                await sending  # it ends with its close frame
                await reading  # and the peer with closing the connection
        except PeerClosed as closed:
            sending.cancel()
            await socket.send_close(closed.code)
        finally:
            reading.cancel()
            sending.cancel()
            await asyncio.gather(reading, sending, return_exceptions=True)

    async def _read(self, socket: WebSocket, session: Session) -> None:
        """Handles messages until the session has ended, and then reads to the end of the connection."""
        hello_deadline = asyncio.get_running_loop().time() + HELLO_SECONDS
        while not session.ended:
            try:
                async with asyncio.timeout_at(None if session.document else hello_deadline):
                    text = await socket.receive()
                if not session.ended:
                    self.handle(session, text)
            except Binary:
                session.refuse(Refusal("binary_frame"))
            except TooBig:
                session.refuse(Refusal("message_too_big"))
            except NotUtf8:
                session.end(Close(1007, "invalid_utf8"))
            except FrameError:
                session.end(Close(1002, "invalid_frame"))
            except TimeoutError:
                session.end(Close(1013, "ping_timeout"))
            # What was read may be buffered, and then nothing above waits: others have their turn here.
            await asyncio.sleep(0)
            while len(session.answers) >= LIMITS["answers_max"] and not session.ended:  # SLOW-3
                await asyncio.sleep(0.01)
        await socket.discard()

    async def _send(self, socket: WebSocket, session: Session) -> None:
        """Sends what the session has to be sent, up to its close frame."""
        while True:
            session.wake.clear()
            frames, close = session.take()
            for frame in frames:
                async with asyncio.timeout(SEND_SECONDS):
                    await socket.send(frame)
            if close:
                async with asyncio.timeout(SEND_SECONDS):
                    await socket.send_close(close.code, close.reason)
                return
            if not frames:
                await self._wait(socket, session)

    async def _wait(self, socket: WebSocket, session: Session) -> None:
        """Waits until there may be something to send; pings meanwhile."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                await session.wake.wait()
        except TimeoutError:
            if asyncio.get_running_loop().time() - socket.last_heard > SILENCE_SECONDS:
                session.end_at_once(Close(1013, "ping_timeout"))
            else:
                await socket.ping()

    def handle(self, session: Session, text: str) -> None:
        """One message, as one step of its document."""
        try:
            self._dispatch(session, text)
        except Refusal as refusal:
            session.refuse(refusal)
            self._forget(session.doc_id)

    def _dispatch(self, session: Session, text: str) -> None:
        message = parse(text)
        kind = field(message, "type", string)
        document = session.document
        if (kind == "hello") != (document is None):
            check_out_of_place(message, kind)
            raise Refusal("second_hello" if document else "hello_expected")
        if document is None:
            hello = read_hello(message, opened_version(message))
            # Only now: a `hello` that cannot be read gets no `error` (ERR-1).
            session.version, session.doc_id = hello.version, hello.doc_id
            self.documents.setdefault(hello.doc_id, Document(hello.doc_id)).join(session, hello)
        elif kind == "op":
            op = read_op(message, session.version)
            try:
                document.operation(session, op)
            except Refusal as refusal:
                if isinstance(op.client_msg_id, int):
                    refusal.client_msg_id = op.client_msg_id
                raise
        elif kind == "sync" and session.version == 2:
            document.sync(session, field(message, "nonce", number))
        else:
            raise malformed()

    def _forget(self, doc_id: str | None) -> None:
        """A document that nobody wrote to leaves nothing."""
        document = self.documents.get(doc_id or "")
        if document and not document.log and not document.sessions:
            del self.documents[document.name]

    async def shut_down(self) -> None:
        """Tells every session, and waits a while for them to end."""
        for session in self.connections.values():
            session.end_at_once(Close(1001, "shutdown"))
        if self.connections:
            await asyncio.wait(set(self.connections), timeout=CLOSE_SECONDS)


async def main(host: str, port: int) -> None:
    server = Server()
    listener = await asyncio.start_server(server.accept, host, port)
    print(f"listening at ws://{host}:{listener.sockets[0].getsockname()[1]}{PATH}", flush=True)
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
    listener.close()
    await server.shut_down()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.host, arguments.port))
