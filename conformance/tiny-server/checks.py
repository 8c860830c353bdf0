"""Whether an operation's edits can be accepted: the last part of ACC-4, and V1-5 to V1-7.

Nothing here changes the document: what is refused leaves no trace (ACC-5).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from protocol import LIMITS, Refusal
from sequence import ROOT, Del, Edit, Id, Ins

if TYPE_CHECKING:
    from document import Document


def check_room(document: Document, edits: tuple[Edit, ...]) -> None:
    """`document_full`, if anything is inserted. Insertions that wait are counted: they will be elements."""
    inserted = sum(edit.count for edit in edits if isinstance(edit, Ins))
    held = len(document.sequence.elements) + len(document.sequence.waiting_insertions)
    if inserted and held + inserted > LIMITS["document_elements_max"]:
        raise Refusal("document_full")


def check_edits(document: Document, client: str, edits: tuple[Edit, ...]) -> None:
    """Version 2: the edits in sequence, each against the document with the edits before it."""
    elements = document.sequence.elements
    record = document.records.get(client)
    sender_highest = record.highest_lamport if record else 0
    highest = document.highest_lamport
    inserted: set[Id] = set()  # by the edits before
    for edit in edits:
        if isinstance(edit, Ins):
            lamport, replica = edit.id
            if replica != client:
                raise Refusal("foreign_id")
            if edit.parent[0] >= lamport:
                raise Refusal("parent_not_older")
            if lamport <= sender_highest:
                raise Refusal("id_exists")
            if lamport > highest + LIMITS["lamport_jump_max"]:
                raise Refusal("lamport_jump")
            # A parent that waits is not in `elements`.
            if edit.parent != ROOT and edit.parent not in elements and edit.parent not in inserted:
                raise Refusal("unknown_reference")
            sender_highest = lamport + edit.count - 1
            highest = max(highest, sender_highest)
            inserted.update((lamport + index, replica) for index in range(edit.count))
        else:
            if any(id not in elements and id not in inserted for id in edit.ids()):
                raise Refusal("unknown_reference")


def check_edit_v1(document: Document, client: str, edit: Edit) -> None:
    """Version 1: one elementary edit, which may have to wait for an element."""
    sequence = document.sequence
    too_high = edit.id[0] > document.highest_lamport + LIMITS["lamport_jump_max"]
    if isinstance(edit, Ins):
        if edit.id[1] != client:
            raise Refusal("foreign_id")
        if edit.parent[0] >= edit.id[0]:
            raise Refusal("parent_not_older")
        if too_high:
            raise Refusal("lamport_jump")
        element = sequence.elements.get(edit.id)
        if element and not element.deleted and element.char != edit.value:
            raise Refusal("id_conflict")
        if sequence.waiting_insertions.get(edit.id, edit) != edit:
            raise Refusal("id_conflict")
        if element:
            return  # it takes a number and has no effect, so it cannot wait either
    missing = sequence.missing(edit)
    if missing is None:
        return
    # It would wait. That it waits already makes no difference.
    if document.is_version_2(missing[1]):
        raise Refusal("unknown_reference")
    if isinstance(edit, Del) and too_high:
        raise Refusal("lamport_jump")
    of_client = sum(1 for waiting_client, _ in sequence.waiting if waiting_client == client)
    if of_client >= LIMITS["waiting_per_client_max"] or len(sequence.waiting) >= LIMITS["waiting_per_document_max"]:
        raise Refusal("waiting_full")
