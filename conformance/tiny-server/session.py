"""One session, and what it is sent next.

A session has no queue of echoes. It has a place in the document's log, and whoever sends for it asks `take()` for the
next frames. Only answers about its own messages are queued, each with the head behind which it belongs (DUR-2).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from messages import write, write_error
from protocol import CODES, LIMITS, Close, Refusal
from resync import write_resync_v1
from sequence import Operation, Retire

if TYPE_CHECKING:
    from document import Document


@dataclass(frozen=True)
class Entry:
    """One entry of the log: an operation, or bookkeeping, with the numbers `first` to `last`."""

    first: int
    last: int
    origin: str
    client_msg_id: int | str
    op: Operation
    echo: str
    """What version 2 sessions are sent."""
    bytes_before: int
    """The length of all echoes before this one, so that a distance in bytes is a subtraction."""


@dataclass(frozen=True)
class Answer:
    """Frames that are sent once the session has got the echoes up to `head`; after a `close` nothing follows."""

    head: int
    frames: list[str]
    close: Close | None = None


def echoes_v1(doc_id: str, entry: Entry, seen: int = 0) -> list[str]:
    """V1-3: an entry as echoes of one character each, those behind `seen`."""
    singles = [single for edit in entry.op.edits for single in edit.elementary()]
    echoes = []
    for index, single in enumerate(singles):
        if entry.first + index > seen:
            suffix = f"#{index + 1}" if index else ""
            echo = {
                "type": "op_echo",
                "doc_id": doc_id,
                "server_seq": entry.first + index,
                "origin_client_id": entry.origin,
                "client_msg_id": f"{entry.client_msg_id}{suffix}",
                "op": single.to_json(),
            }
            echoes.append(write(echo))
    return echoes


class Session:
    """What the server knows of one connection, from its first byte to its end."""

    def __init__(self) -> None:
        self.version = 1
        self.doc_id: str | None = None
        self.client_id = ""
        self.secret: bytes | None = None
        self.document: Document | None = None
        self.joined_at = 0  # the head of hello_ack
        self.seen = 0  # the last number that was sent
        self.position = 0  # the index in the log of the next entry
        self.caught_up = False
        self.answers: deque[Answer] = deque()
        self.ended = False  # nothing that comes from now on is processed
        self.cut: Close | None = None
        self.wake = asyncio.Event()  # there may be something to take

    def answer(self, head: int, *frames: str) -> None:
        """Queues the answer to a message that arose at this head."""
        self.answers.append(Answer(head, list(frames)))
        self.wake.set()

    def end(self, close: Close, *frames: str) -> None:
        """Ends the session: what was accepted up to now is still delivered, then come these frames (ERR-2)."""
        if not self.ended:
            head = self.document.head if self.document else 0
            self.answers.append(Answer(head, list(frames), close))
            self._leave()

    def end_at_once(self, close: Close) -> None:
        """Ends the session without what is still to be delivered."""
        if not self.ended:
            self.cut = close
            self._leave()

    def refuse(self, refusal: Refusal) -> None:
        """ERR-1: `error` to version 2, the bare close code to version 1 and where no version is open."""
        close = Close(CODES[refusal.code][0], refusal.code)
        if self.version == 2 and self.doc_id is not None:
            self.end(close, write_error(self.doc_id, refusal))
        else:
            self.end(close)

    def take_over(self) -> None:
        """IDENT-1: a newer connection has taken the place of this one. What was not sent is dropped."""
        self.end_at_once(Close(4001 if self.version == 2 else 1008, "taken_over"))

    def check_lag(self) -> None:
        """SLOW-2: who had caught up may not fall too far behind. Who had not is served at its own pace (SLOW-1)."""
        assert self.document
        log = self.document.log
        if not self.caught_up or self.position == len(log):
            return
        lag_bytes = log[-1].bytes_before + len(log[-1].echo.encode()) - log[self.position].bytes_before
        if len(log) - self.position > LIMITS["ring_entries_max"] or lag_bytes > LIMITS["ring_bytes_max"]:
            self.end_at_once(Close(1013, "slow_consumer"))

    def take(self) -> tuple[list[str], Close | None]:
        """The next frames to send, and the close frame behind them. Both empty: there is nothing to send."""
        if self.cut:
            return [], self.cut
        if self.answers and self.answers[0].head <= self.seen:
            answer = self.answers.popleft()
            return answer.frames, answer.close
        if self.document is None or self.position == len(self.document.log):
            self.caught_up = True
            return [], None
        entry = self.document.log[self.position]
        if self.version == 2:
            frames = [entry.echo]
        elif isinstance(entry.op, Retire) or entry.op.count > LIMITS["v1_expand_max"]:
            return self._resync_instead(), None
        else:
            frames = echoes_v1(self.document.name, entry, self.seen)
        self.position += 1
        self.seen = entry.last
        return frames, None

    def _resync_instead(self) -> list[str]:
        """V1-3 and V1-10: a `resync` of the head, then the echoes of the session's own operations that it covers."""
        assert self.document
        frames = [write_resync_v1(self.document)]
        for entry in self.document.log[self.position :]:
            if entry.origin == self.client_id and entry.first > self.joined_at:
                frames += echoes_v1(self.document.name, entry)
        self.position = len(self.document.log)
        self.seen = self.document.head
        return frames

    def _leave(self) -> None:
        self.ended = True
        if self.document:
            self.document.leave(self)
        self.wake.set()
