"""The sequence of section 5, as plain as its definition: a tree of elements, walked depth first."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

Id = tuple[int, str]
"""`(lamport, replica)`."""

ROOT: Id = (0, "root")


@dataclass(frozen=True)
class Ins:
    """Insert `value` behind `parent`; character *i* gets the id `(lamport + i, replica)`."""

    parent: Id
    id: Id
    value: str

    @property
    def count(self) -> int:
        return len(self.value)

    @property
    def edits(self) -> tuple[Edit, ...]:
        return (self,)

    def elements(self) -> Iterator[tuple[Id, Id, str]]:
        """Parent, id and character of each element."""
        lamport, replica = self.id
        parent = self.parent
        for index, char in enumerate(self.value):
            id = (lamport + index, replica)
            yield parent, id, char
            parent = id

    def elementary(self) -> Iterator[Ins]:
        """The same as insertions of one character each."""
        return (Ins(parent, id, char) for parent, id, char in self.elements())

    def to_json(self) -> dict[str, Any]:
        return {"type": "ins", "parent_id": self.parent, "id": self.id, "value": self.value}


@dataclass(frozen=True)
class Del:
    """Delete the elements `(lamport … lamport + len − 1, replica)`."""

    id: Id
    len: int = 1

    @property
    def count(self) -> int:
        return self.len

    @property
    def edits(self) -> tuple[Edit, ...]:
        return (self,)

    def ids(self) -> Iterator[Id]:
        """The id of each element."""
        return ((self.id[0] + index, self.id[1]) for index in range(self.len))

    def elementary(self) -> Iterator[Del]:
        """The same as deletions of one element each."""
        return (Del(id) for id in self.ids())

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"type": "del", "id": self.id}
        return data if self.len == 1 else {**data, "len": self.len}


Edit = Ins | Del


@dataclass(frozen=True)
class Batch:
    """Several edits, as a whole or not at all."""

    edits: tuple[Edit, ...]

    @property
    def count(self) -> int:
        return sum(edit.count for edit in self.edits)

    def to_json(self) -> dict[str, Any]:
        return {"type": "batch", "ops": [edit.to_json() for edit in self.edits]}


@dataclass(frozen=True)
class Retire:
    """`client_id` is retired for ever. Bookkeeping, no text; takes one number all the same."""

    client_id: str
    count = 1
    edits = ()

    def to_json(self) -> dict[str, Any]:
        return {"type": "retire", "client_id": self.client_id}


Operation = Ins | Del | Batch | Retire


@dataclass(slots=True)
class Element:
    """One character. When it is deleted it remains as a tombstone."""

    parent: Id
    char: str
    deleted: bool = False


def sibling_key(id: Id) -> tuple[int, bytes]:
    """ORD-1: the higher lamport comes first, then the smaller replica by the bytes of its UTF-8."""
    return (-id[0], id[1].encode())


@dataclass
class Sequence:
    """The tree, and the edits that wait for elements that have not arrived."""

    elements: dict[Id, Element] = field(default_factory=dict)
    children: dict[Id, list[Id]] = field(default_factory=dict)
    waiting: list[tuple[str, Edit]] = field(default_factory=list)
    """Elementary edits with the client that made them (V1-6)."""
    waiting_insertions: dict[Id, Ins] = field(default_factory=dict)
    """The insertions among them, by id."""
    waiting_deletions: set[Id] = field(default_factory=set)
    """The deletions among them."""

    def holds(self, id: Id) -> bool:
        """Whether an element has arrived. The root is always there."""
        return id in self.elements or id == ROOT

    def missing(self, edit: Edit) -> Id | None:
        """The element that this elementary edit needs and that has not arrived."""
        needed = edit.parent if isinstance(edit, Ins) else edit.id
        return None if self.holds(needed) else needed

    def apply(self, client: str, edits: Iterable[Edit]) -> None:
        """Integrates edits, in any order of arrival and any number of times (OP-5)."""
        for edit in edits:
            if isinstance(edit, Ins):
                for parent, id, char in edit.elements():
                    self._insert(client, parent, id, char)
            else:
                for id in edit.ids():
                    self._delete(client, id)
        self._retry_waiting()

    def _insert(self, client: str, parent: Id, id: Id, char: str) -> None:
        if id in self.elements or id in self.waiting_insertions:
            return
        if not self.holds(parent):
            self.waiting_insertions[id] = Ins(parent, id, char)
            self.waiting.append((client, self.waiting_insertions[id]))
            return
        self.elements[id] = Element(parent, char)
        bisect.insort(self.children.setdefault(parent, []), id, key=sibling_key)

    def _delete(self, client: str, id: Id) -> None:
        if id in self.elements:
            self.elements[id].deleted = True
        elif id not in self.waiting_deletions:
            self.waiting_deletions.add(id)
            self.waiting.append((client, Del(id)))

    def _retry_waiting(self) -> None:
        """Applies what waited, until nothing more has what it misses."""
        while ready := [entry for entry in self.waiting if self.missing(entry[1]) is None]:
            self.waiting = [entry for entry in self.waiting if self.missing(entry[1]) is not None]
            for client, edit in ready:
                if isinstance(edit, Ins):
                    del self.waiting_insertions[edit.id]
                    self._insert(client, edit.parent, edit.id, edit.value)
                else:
                    self.waiting_deletions.remove(edit.id)
                    self._delete(client, edit.id)

    def walk(self) -> Iterator[tuple[Id, Element]]:
        """The document: the walk of the tree, parent before children, tombstones included."""
        # A stack of our own: a chain of typed characters is deeper than Python's recursion goes.
        stack = list(reversed(self.children.get(ROOT, [])))
        while stack:
            id = stack.pop()
            yield id, self.elements[id]
            stack.extend(reversed(self.children.get(id, ())))

    def text(self) -> str:
        """The visible elements."""
        return "".join(element.char for _, element in self.walk() if not element.deleted)
