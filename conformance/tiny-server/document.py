"""One document: its log and records, joining, and accepting operations.

Everything here happens at once, between two awaits of the server, so every call is one step of the document. The log
is in memory only and is never cut: what is accepted is durable at once, in the sense that `"durability":"memory"` has.
"""

from __future__ import annotations

import bisect
import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from checks import check_edit_v1, check_edits, check_room
from messages import Hello, OpMessage, write
from protocol import FEATURES, LIMITS, Refusal
from resync import write_resync, write_resync_v1
from sequence import Ins, Operation, Retire, Sequence
from session import Entry, Session, echoes_v1

EPOCH = 0
"""Ids are never compacted here."""


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


@dataclass
class Record:
    """What the document remembers of a client from its first accepted operation on (section 10)."""

    version: int
    secret: bytes | None
    last: int = 0
    highest_lamport: int = 0
    answered: int = 0
    answers: dict[int, Entry] = field(default_factory=dict)
    """By message number, for what the client has not reported as answered."""

    def report(self, answered: int) -> None:
        """All messages up to this one are answered, says an accepted operation (RESUB-4)."""
        for client_msg_id in range(self.answered + 1, answered + 1):
            del self.answers[client_msg_id]
        self.answered = max(self.answered, answered)


class Document:
    """One text with one order of operations."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sequence = Sequence()
        self.highest_lamport = 0  # of every id ever inserted, waiting ones too (ACC-6)
        self.log: list[Entry] = []
        self.term = ""  # drawn with the first entry; this server loads a document once, so there is one (TERM-1)
        self.records: dict[str, Record] = {}
        self.retired: set[str] = set()
        self.sessions: dict[str, Session] = {}  # by client_id
        self.attempts: dict[str, int] = {}  # of clients with a record or a connection
        self.v1_window: OrderedDict[tuple[str, str, Operation], Entry] = OrderedDict()

    @property
    def head(self) -> int:
        return self.log[-1].last if self.log else 0

    def is_version_2(self, client: str) -> bool:
        """Whether a replica is one of version 2 (VER-4). Only such ones can be retired."""
        record, session = self.records.get(client), self.sessions.get(client)
        is_2 = (record and record.version == 2) or (session and session.version == 2)
        return bool(is_2) or client in self.retired

    # ---- joining ---------------------------------------------------------------------------------------------------

    def join(self, session: Session, hello: Hello) -> None:
        """JOIN-1 and JOIN-2: one step, from the checks to `hello_ack` and what follows it."""
        self._check_hello(hello)
        if hello.client_id in self.sessions:
            self.sessions[hello.client_id].take_over()
        replaced_last = self._replace(hello) if hello.replaces else None
        session.document = self
        session.client_id = hello.client_id
        session.joined_at = self.head
        self.sessions[hello.client_id] = session
        if hello.version == 1:
            self._welcome_v1(session, hello.last_seen)
            return
        session.secret = digest(hello.secret)
        self.attempts[hello.client_id] = hello.attempt
        self._welcome(session, hello, replaced_last)

    def leave(self, session: Session) -> None:
        """The session has ended. Without a record nothing of its client is left (HELLO-2)."""
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]
            if session.client_id not in self.records:
                self.attempts.pop(session.client_id, None)

    def _check_hello(self, hello: Hello) -> None:
        """HELLO-3 behind `wrong_document`. Version 1 is asked only whether the id is of version 2."""
        record, session = self.records.get(hello.client_id), self.sessions.get(hello.client_id)
        if hello.version == 1:
            if self.is_version_2(hello.client_id):
                raise Refusal("client_id_taken")
            return
        # Nobody proves an identity of version 1, which has no secret.
        if any(known and known.secret != digest(hello.secret) for known in (record, session)):
            raise Refusal("client_id_taken")
        if hello.client_id in self.retired:
            raise Refusal("client_retired")
        if hello.attempt <= self.attempts.get(hello.client_id, 0):
            raise Refusal("stale_attempt")
        if hello.epoch != EPOCH:
            raise Refusal("stale_epoch")
        if hello.last_seen > self.head or (hello.last_seen and hello.term != self.term):
            raise Refusal("unknown_term")
        if hello.answered > (record.last if record else 0):
            raise Refusal("no_record")

    def _replace(self, hello: Hello) -> int | None:
        """REKEY-3 and REKEY-4: retires the old identity. Returns `replaced_last`."""
        assert hello.replaces
        old, proof = hello.replaces[0], digest(hello.replaces[1])
        record, session = self.records.get(old), self.sessions.get(old)
        if any(known and known.secret != proof for known in (record, session)):
            return None
        if session:
            session.take_over()
        if old not in self.retired:
            self.retired.add(old)
            self.records.setdefault(old, Record(2, proof))
            self._append(hello.client_id, 0, Retire(old))
        return record.last if record else None

    def _welcome(self, session: Session, hello: Hello, replaced_last: int | None) -> None:
        """`hello_ack` of version 2, and the place from which the session goes on (JOIN-3, JOIN-4)."""
        head, record = self.head, self.records.get(hello.client_id)
        if hello.resync or hello.replaces:
            follows = "resync"
        elif hello.last_seen == head:
            follows = "nothing"
        else:
            follows = "replay" if head - hello.last_seen <= LIMITS["replay_max"] else "resync"
        ack: dict[str, Any] = {"type": "hello_ack", "doc_id": self.name, "server_seq": head, "protocol": 2}
        if head:
            ack["term"] = self.term
        ack |= {"epoch": EPOCH, "durability": "memory", "last": record.last if record else 0}
        if replaced_last is not None:
            ack["replaced_last"] = replaced_last
        ack |= {"follows": follows, "features": FEATURES, "limits": LIMITS}
        frames = [write(ack)]
        if follows == "resync" or not self._ends_entry(hello.last_seen):
            frames += write_resync(self)
            self._place(session, head)
        else:
            self._place(session, hello.last_seen)
        session.answer(session.seen, *frames)

    def _welcome_v1(self, session: Session, last_seen: int) -> None:
        """V1-2."""
        head = self.head
        frames = [write({"type": "hello_ack", "doc_id": self.name, "server_seq": head})]
        if last_seen == 0 or not head - LIMITS["v1_replay_max"] <= last_seen <= head:
            frames.append(write_resync_v1(self))
            self._place(session, head)
        else:
            self._place(session, last_seen)
        session.answer(session.seen, *frames)

    def _place(self, session: Session, seen: int) -> None:
        session.seen = seen
        session.position = bisect.bisect_right(self.log, seen, key=lambda entry: entry.last)

    def _ends_entry(self, number: int) -> bool:
        position = bisect.bisect_left(self.log, number, key=lambda entry: entry.last)
        return number == 0 or self.log[position].last == number

    # ---- operations ------------------------------------------------------------------------------------------------

    def operation(self, session: Session, message: OpMessage) -> None:
        """Accepts an `op`, answers it if it was accepted before, or raises the refusal."""
        if message.doc_id != self.name:
            raise Refusal("wrong_document")
        if message.client_id != session.client_id:
            raise Refusal("wrong_client")
        if session.version == 1:
            self._operation_v1(session, message)
        else:
            self._operation_v2(session, message)

    def _operation_v2(self, session: Session, message: OpMessage) -> None:
        """ACC-4."""
        number, op = message.client_msg_id, message.op
        assert isinstance(number, int)
        record = self.records.get(session.client_id) or Record(2, session.secret)
        if number <= record.last:
            self._resubmitted(session, record, number, message)
            return
        if number != record.last + 1 or message.answered > record.last:
            raise Refusal("number_gap")
        if number - message.answered > LIMITS["inflight_max"]:
            raise Refusal("inflight_exceeded")
        if message.epoch != EPOCH:
            raise Refusal("stale_epoch")
        if message.seen > self.head:
            raise Refusal("seen_beyond_head")
        check_room(self, op.edits)
        check_edits(self, session.client_id, op.edits)

        self.records[session.client_id] = record
        record.last = number
        record.answers[number] = self._append(session.client_id, number, op)
        record.report(message.answered)
        for edit in op.edits:
            if isinstance(edit, Ins):
                record.highest_lamport = edit.id[0] + edit.count - 1

    def _resubmitted(self, session: Session, record: Record, number: int, message: OpMessage) -> None:
        """RESUB-2 to RESUB-4. Operations are compared as data; `Del` without `len` has `len` 1."""
        if number <= record.answered:
            raise Refusal("number_too_old")
        entry = record.answers[number]
        if entry.op != message.op:
            raise Refusal("number_reused")
        ack = {"type": "ack", "doc_id": self.name, "client_msg_id": number, "server_seq": entry.last}
        session.answer(self.head, write({**ack, "count": entry.op.count}))

    def _operation_v1(self, session: Session, message: OpMessage) -> None:
        """V1-4 to V1-7."""
        assert isinstance(message.client_msg_id, str)
        key = (message.client_id, message.client_msg_id, message.op)
        if key in self.v1_window:
            session.answer(self.head, echoes_v1(self.name, self.v1_window[key])[0])
            return
        check_room(self, message.op.edits)
        check_edit_v1(self, message.client_id, message.op.edits[0])

        self.records.setdefault(message.client_id, Record(1, None))
        self.v1_window[key] = self._append(message.client_id, message.client_msg_id, message.op)
        if len(self.v1_window) > LIMITS["v1_window_max"]:
            self.v1_window.popitem(last=False)

    def sync(self, session: Session, nonce: int) -> None:
        """SYNC-1."""
        synced = {"type": "synced", "doc_id": self.name, "nonce": nonce, "server_seq": self.head}
        session.answer(self.head, write(synced))

    def _append(self, origin: str, client_msg_id: int | str, op: Operation) -> Entry:
        """Numbers what was checked (NUM-1), integrates it, and tells every session that there is something to send."""
        echo: dict[str, Any] = {"type": "op_echo", "doc_id": self.name, "server_seq": self.head + op.count}
        echo |= {"origin_client_id": origin, "client_msg_id": client_msg_id, "op": op.to_json(), "count": op.count}
        if not self.log:
            self.term = echo["term"] = secrets.token_hex(16)
        before = self.log[-1].bytes_before + len(self.log[-1].echo.encode()) if self.log else 0
        entry = Entry(self.head + 1, self.head + op.count, origin, client_msg_id, op, write(echo), before)
        self.log.append(entry)
        self.sequence.apply(origin, op.edits)
        inserted = [edit.id[0] + edit.count - 1 for edit in op.edits if isinstance(edit, Ins)]
        self.highest_lamport = max([self.highest_lamport, *inserted])
        for session in list(self.sessions.values()):
            session.check_lag()
            session.wake.set()
        return entry
