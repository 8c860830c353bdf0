"""Messages: names and ids (section 4), the fields of what a client may send, and writing what it is sent.

Whatever breaks a rule is `Refusal("malformed")`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from protocol import AFTER_MS, CODES, INTEGER_MAX, LIMITS, Refusal, malformed
from sequence import ROOT, Batch, Del, Edit, Id, Ins, Operation

T = TypeVar("T")


# ---- types of fields -----------------------------------------------------------------------------------------------

REQUIRED: Any = object()


def field(message: dict[str, Any], name: str, check: Callable[[Any], T], default: Any = REQUIRED) -> T:
    """JSON-4: only what is absent and optional has its default; `null` is not absent."""
    if name in message:
        return check(message[name])
    if default is REQUIRED:
        raise malformed()
    return cast(T, default)


def number(value: Any, least: int = 0) -> int:
    # `type` and not `isinstance`: to Python True is an int.
    if type(value) is not int or not least <= value <= INTEGER_MAX:
        raise malformed()
    return value


def positive(value: Any) -> int:
    return number(value, 1)


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise malformed()
    return value


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise malformed()
    return value


def named(value: Any, bytes_min: int = 1) -> str:
    name = string(value)
    if not bytes_min <= len(name.encode()) <= LIMITS["name_bytes_max"]:
        raise malformed()
    return name


def document_name(value: Any) -> str:
    name = string(value)
    if not re.fullmatch(r"[A-Za-z0-9._~:@-]{1,128}", name) or name in (".", ".."):
        raise malformed()
    return name


def client(value: Any) -> str:
    name = named(value)
    if re.search(r"[\x00-\x1f\x7f-\x9f]", name) or name == "root":
        raise malformed()
    return name


def client_of_version_2(value: Any) -> str:
    return client(named(value, 16))


def secret(value: Any) -> str:
    return named(value, 16)


def term(value: Any) -> str:
    name = string(value)
    if not re.fullmatch(r"[0-9a-f]{32}", name):
        raise malformed()
    return name


def table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise malformed()
    return value


def array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise malformed()
    return value


def element_id(value: Any) -> Id:
    if len(array(value)) != 2:
        raise malformed()
    return positive(value[0]), client(value[1])


def parent_id(value: Any) -> Id:
    # By type too: to Python [0.0, "root"] equals [0, "root"].
    is_root = isinstance(value, list) and value == list(ROOT) and type(value[0]) is int
    return ROOT if is_root else element_id(value)


# ---- what a client sends -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """A `hello`. Behind `last_seen` come the fields of version 2."""

    version: int
    doc_id: str
    client_id: str
    last_seen: int
    secret: str = ""
    attempt: int = 0
    term: str | None = None
    answered: int = 0
    epoch: int = 0
    resync: bool = False
    replaces: tuple[str, str] | None = None
    """The `client_id` and the `client_secret` of the identity to be replaced."""


@dataclass(frozen=True)
class OpMessage:
    """An `op`. `client_msg_id` is an integer in version 2 and a string in version 1."""

    doc_id: str
    client_id: str
    client_msg_id: int | str
    op: Operation
    answered: int = 0
    epoch: int = 0
    seen: int = 0


def opened_version(message: dict[str, Any]) -> int:
    """VER-1: the version that a `hello` opens."""
    if "protocol" not in message:
        return 1
    protocol = table(message["protocol"])
    least, most = field(protocol, "min", positive), field(protocol, "max", positive)
    if least > most:
        raise malformed()
    if least > 2:
        raise Refusal("unsupported_version")
    return min(most, 2)


def read_hello(message: dict[str, Any], version: int) -> Hello:
    doc_id = field(message, "doc_id", document_name)
    last_seen = field(message, "last_seen_server_seq", number, 0)
    if version == 1:
        return Hello(1, doc_id, field(message, "client_id", client), last_seen)
    client_id = field(message, "client_id", client_of_version_2)
    if ("term" in message) != (last_seen > 0):
        raise malformed()
    replaces = None
    if "replaces" in message:
        old = table(message["replaces"])
        replaces = field(old, "client_id", client_of_version_2), field(old, "client_secret", secret)
        if replaces[0] == client_id:
            raise malformed()
    field(message, "token", string, "")
    return Hello(
        version=2,
        doc_id=doc_id,
        client_id=client_id,
        last_seen=last_seen,
        secret=field(message, "client_secret", secret),
        attempt=field(message, "attempt", positive),
        term=field(message, "term", term, None),
        answered=field(message, "answered", number, 0),
        epoch=field(message, "epoch", number, 0),
        resync=field(message, "resync", boolean, False),
        replaces=replaces,
    )


def read_op(message: dict[str, Any], version: int) -> OpMessage:
    doc_id, client_id = field(message, "doc_id", document_name), field(message, "client_id", client)
    data = field(message, "op", table)
    if version == 1:
        return OpMessage(doc_id, client_id, field(message, "client_msg_id", named), read_edit(data, 1))
    client_msg_id = field(message, "client_msg_id", positive)
    answered, epoch, seen = (field(message, name, number) for name in ("answered", "epoch", "seen"))
    op: Operation
    if data.get("type") == "batch":
        op = Batch(tuple(read_edit(table(edit), 2) for edit in field(data, "ops", array)))
        if not op.edits:
            raise malformed()
    else:
        op = read_edit(data, 2)
    # A `Del` is still only two numbers here, so nothing of the refused size was built (OP-4).
    if op.count > LIMITS["op_count_max"] or len(op.edits) > LIMITS["batch_edits_max"]:
        raise Refusal("op_too_large", client_msg_id)
    return OpMessage(doc_id, client_id, client_msg_id, op, answered, epoch, seen)


def read_edit(data: dict[str, Any], version: int) -> Edit:
    """An `ins` or `del`; everything else is `malformed` (OP-2, OP-3)."""
    kind = field(data, "type", string)
    edit: Edit
    if kind == "ins":
        edit = Ins(field(data, "parent_id", parent_id), field(data, "id", element_id), field(data, "value", string))
        if edit.count < 1 or (version == 1 and edit.count != 1):
            raise malformed()
    elif kind == "del":
        # In version 1 `len` is an unknown field (V1-1).
        edit = Del(field(data, "id", element_id), 1 if version == 1 else field(data, "len", positive, 1))
    else:
        raise malformed()
    if edit.id[0] + edit.count - 1 > INTEGER_MAX:
        raise malformed()
    return edit


def check_out_of_place(message: dict[str, Any], kind: str) -> None:
    """HELLO-1: a second `hello`, or another message before it, is `malformed` rather than out of place if it is so."""
    try:
        if kind == "hello":
            read_hello(message, opened_version(message))
        elif kind == "op":
            # No version is open yet. The one that it is written for shows in its number.
            read_op(message, 1 if isinstance(message.get("client_msg_id"), str) else 2)
        elif kind == "sync":
            field(message, "nonce", number)
        else:
            raise malformed()
    except Refusal as refusal:
        if refusal.code == "malformed":
            raise


# ---- what the server sends -----------------------------------------------------------------------------------------


def write(message: dict[str, Any]) -> str:
    """JSON with the shortest escapes (JSON-8)."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def write_error(doc_id: str, refusal: Refusal) -> str:
    _, retry, sentence = CODES[refusal.code]
    error: dict[str, Any] = {"type": "error", "doc_id": doc_id, "code": refusal.code, "retry": retry}
    if retry == "after_ms":
        error["after_ms"] = AFTER_MS
    error["message"] = sentence
    if refusal.client_msg_id is not None:
        error["client_msg_id"] = refusal.client_msg_id
    return write(error)
