"""What docs/protocol.md fixes by name: the limits (section 17) and the codes (section 18)."""

from __future__ import annotations

from dataclasses import dataclass

INTEGER_MAX = 2**53 - 1
"""The largest integer on the wire (JSON-5)."""

LIMITS: dict[str, int] = {
    "message_bytes_max": 1048576,
    "name_bytes_max": 128,
    "op_count_max": 200000,
    "batch_edits_max": 10000,
    "inflight_max": 256,
    "lamport_jump_max": 1048576,
    "document_elements_max": 20000000,
    "waiting_per_client_max": 256,
    "waiting_per_document_max": 4096,
    "v1_window_max": 4096,
    "v1_expand_max": 1000,
    "v1_replay_max": 500,
    "replay_max": 10000,
    "terms_max": 1024,
    "ring_entries_max": 8192,
    "ring_bytes_max": 4194304,
    "answers_max": 512,
}
"""The limits of section 17. `hello_ack` tells them as they stand here."""

CODES: dict[str, tuple[int, str, str]] = {
    # code: (close code, retry, the sentence for people)
    "malformed": (1002, "never", "this is not a message of the protocol"),
    "binary_frame": (1003, "never", "messages are text"),
    "message_too_big": (1009, "never", "the message is too long"),
    "hello_expected": (1002, "never", "the first message must be hello"),
    "second_hello": (1003, "never", "hello was said already"),
    "unsupported_version": (1002, "never", "there is no protocol version in common"),
    "wrong_document": (1008, "never", "the session is in another document"),
    "wrong_client": (1008, "never", "the session is of another client"),
    "client_id_taken": (1008, "rekey", "the client_id belongs to somebody else"),
    "client_retired": (1008, "rekey", "the client_id was retired"),
    "stale_attempt": (1008, "rekey", "a newer hello of this client was seen already"),
    "no_record": (1008, "rekey", "the document does not remember what the client was answered"),
    "unknown_term": (1008, "rekey", "last_seen_server_seq belongs to another history"),
    "stale_epoch": (1008, "rekey", "the ids are of another epoch"),
    "number_gap": (1008, "rekey", "message numbers leave a gap"),
    "number_reused": (1008, "rekey", "the message number was used for another operation"),
    "number_too_old": (1008, "rekey", "the answer to this message number is forgotten"),
    "inflight_exceeded": (1008, "rekey", "too many messages are unanswered"),
    "op_too_large": (1008, "never", "the operation is too large"),
    "document_full": (1008, "never", "the document can hold no more elements"),
    "foreign_id": (1008, "rekey", "an inserted id names another replica than the sender"),
    "id_exists": (1008, "rekey", "an inserted id is not above the sender's earlier ones"),
    "id_conflict": (1008, "rekey", "an inserted id exists with other content"),
    "unknown_reference": (1008, "rekey", "the document does not hold an element that is named"),
    "parent_not_older": (1008, "rekey", "a parent is not older than its child"),
    "lamport_jump": (1008, "rekey", "a lamport is too far above the document's highest"),
    "waiting_full": (1013, "after_ms", "too many operations wait for missing elements"),
    "seen_beyond_head": (1008, "rekey", "seen is beyond the head"),
    "document_stopped": (1011, "after_ms", "the document stopped"),
}
"""The codes of section 18 that this server uses."""

AFTER_MS = 1000
"""How long to wait, for every code whose `retry` is `after_ms`."""

FEATURES = ["runs", "batch", "sync", "resync_state", "rekey"]
"""What `hello_ack` says that this server can do."""


class Refusal(Exception):
    """A message is refused. Nothing of it was done; the session ends with this code (ERR-1)."""

    def __init__(self, code: str, client_msg_id: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.client_msg_id = client_msg_id


def malformed() -> Refusal:
    return Refusal("malformed")


@dataclass(frozen=True)
class Close:
    """A close frame to be sent."""

    code: int
    reason: str
