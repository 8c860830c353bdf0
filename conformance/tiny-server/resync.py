"""The two kinds of `resync`: the state in parts for version 2 (section 7), the text for version 1 (section 16)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from messages import write
from protocol import LIMITS
from sequence import Id, Sequence

if TYPE_CHECKING:
    from document import Document

ENVELOPE_BYTES = 1024
"""More than what a part holds beside its state."""


def runs(sequence: Sequence) -> Iterator[tuple[Id, str | int]]:
    """Elements in document order: the first id with a text or with a number of tombstones."""
    # No run is longer than a part. In JSON a character takes at most six bytes.
    longest = LIMITS["message_bytes_max"] // 32
    start: Id | None = None
    chars: list[str] = []
    deleted = False

    def content() -> str | int:
        return len(chars) if deleted else "".join(chars)

    for id, element in sequence.walk():
        if start is not None:
            is_next = id == (start[0] + len(chars), start[1])
            if not is_next or element.deleted != deleted or len(chars) == longest:
                yield start, content()
                start, chars = None, []
        if start is None:
            start, deleted = id, element.deleted
        chars.append(element.char)
    if start is not None:
        yield start, content()


def states(sequence: Sequence) -> list[dict[str, Any]]:
    """The state, cut into as many parts as `message_bytes_max` asks for (FRAME-4); at least one."""
    room = LIMITS["message_bytes_max"] - ENVELOPE_BYTES
    parts: list[dict[str, Any]] = []
    used = room + 1  # there is no part yet
    indices: dict[str, int] = {}

    def begin() -> None:
        nonlocal used
        parts.append({"replicas": [], "runs": [], "waiting": []})
        indices.clear()
        used = 0

    begin()
    for (lamport, replica), content in runs(sequence):
        # The index has at most as many digits as the room has.
        size = len(write({"": [lamport, content, replica]}).encode()) + len(str(room))
        if used + size > room:
            begin()
        if replica not in indices:
            indices[replica] = len(indices)
            parts[-1]["replicas"].append(replica)
        parts[-1]["runs"].append([lamport, indices[replica], content])
        used += size
    for _, edit in sequence.waiting:
        size = len(write(edit.to_json()).encode()) + 1
        if used + size > room:
            begin()
        parts[-1]["waiting"].append(edit.to_json())
        used += size
    return parts


def write_resync(document: Document) -> list[str]:
    """All parts of the `resync` of a document's head."""
    parts = states(document.sequence)
    frames = []
    for index, state in enumerate(parts):
        message: dict[str, Any] = {"type": "resync", "doc_id": document.name, "server_seq": document.head}
        if document.head:
            message["term"] = document.term
        frames.append(write({**message, "part": index + 1, "parts": len(parts), "state": state}))
    return frames


def write_resync_v1(document: Document) -> str:
    text = document.sequence.text()
    return write({"type": "resync", "doc_id": document.name, "server_seq": document.head, "full_text": text})
