"""The sequence of section 5, as plain as its definition: a tree of elements, walked depth first."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

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

    def elementary(self) -> Iterator[Ins]:
        """The same as insertions of one character each."""
        lamport, replica = self.id
        parent = self.parent
        for index, char in enumerate(self.value):
            yield Ins(parent, (lamport + index, replica), char)
            parent = (lamport + index, replica)

    def to_json(self) -> dict:
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

    def elementary(self) -> Iterator[Del]:
        """The same as deletions of one element each."""
        for index in range(self.len):
            yield Del((self.id[0] + index, self.id[1]))

    def to_json(self) -> dict:
        data = {"type": "del", "id": self.id}
        return data if self.len == 1 else {**data, "len": self.len}


Edit = Ins | Del


@dataclass(frozen=True)
class Batch:
    """Several edits, as a whole or not at all."""

    edits: tuple[Edit, ...]

    @property
    def count(self) -> int:
        return sum(edit.count for edit in self.edits)

    def to_json(self) -> dict:
        return {"type": "batch", "ops": [edit.to_json() for edit in self.edits]}


@dataclass(frozen=True)
class Retire:
    """`client_id` is retired for ever. Bookkeeping, no text; takes one number all the same."""

    client_id: str
    count = 1
    edits = ()

    def to_json(self) -> dict:
        return {"type": "retire", "client_id": self.client_id}


Operation = Ins | Del | Batch | Retire


@dataclass
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

    def missing(self, edit: Edit) -> Id | None:
        """The element that this elementary edit needs and that has not arrived."""
        needed = edit.parent if isinstance(edit, Ins) else edit.id
        return None if needed == ROOT or needed in self.elements else needed

    def apply(self, client: str, edits: Iterable[Edit]) -> None:
        """Integrates edits, in any order of arrival and any number of times (OP-5)."""
        for edit in edits:
            for single in edit.elementary():
                if isinstance(single, Ins) and (single.id in self.elements or single.id in self.waiting_insertions):
                    continue
                if self.missing(single) is None:
                    self._integrate(single)
                else:
                    self.waiting.append((client, single))
                    if isinstance(single, Ins):
                        self.waiting_insertions[single.id] = single
        self._retry_waiting()

    def _integrate(self, edit: Edit) -> None:
        if isinstance(edit, Del):
            self.elements[edit.id].deleted = True
            return
        self.elements[edit.id] = Element(edit.parent, edit.value)
        bisect.insort(self.children.setdefault(edit.parent, []), edit.id, key=sibling_key)

    def _retry_waiting(self) -> None:
        """Integrates what waited, until nothing more has what it misses."""
        ready = True
        while self.waiting and ready:
            ready = [entry for entry in self.waiting if self.missing(entry[1]) is None]
            self.waiting = [entry for entry in self.waiting if self.missing(entry[1]) is not None]
            for _, edit in ready:
                self.waiting_insertions.pop(edit.id, None)
                self._integrate(edit)

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
