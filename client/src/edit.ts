/** What follows from operations alone. */

import type { Batch, Delete, Edit, ElementId, Op, Retire } from "./op.ts";
import { scalarCount } from "./text.ts";

/** The edits, in order; none for an entry that is not text. */
export function editsOf(op: Op | Retire): readonly Edit[] {
  return op.type === "batch" ? op.ops : op.type === "retire" ? [] : [op];
}

/** Number of elements that an edit inserts or deletes. */
export function countOf(edit: Edit): number {
  return edit.type === "ins" ? scalarCount(edit.value) : (edit.len ?? 1);
}

/** How many server numbers an operation takes: at least 1. */
export function opCount(op: Op | Retire): number {
  return op.type === "retire" ? 1 : editsOf(op).reduce((sum, edit) => sum + countOf(edit), 0);
}

/** The deletion of a range of ids. A `len` of 1 is left out, so that equal deletions are written alike. */
export function deletion(id: ElementId, len: number): Delete {
  return len === 1 ? { type: "del", id } : { type: "del", id, len };
}

/** The operation made of at least one edit. */
export function oneOrBatch(edits: readonly Edit[]): Op {
  const [first] = edits;
  return first && edits.length === 1 ? first : { type: "batch", ops: edits };
}

/** The operation with its fields in their order on the wire, and nothing else in it. */
export function canonical(op: Op | Retire): Op | Retire {
  if (op.type === "batch") return { type: "batch", ops: op.ops.map(canonical) as Batch["ops"] };
  if (op.type === "retire") return { type: "retire", client_id: op.client_id };
  if (op.type === "del") return deletion(op.id, op.len ?? 1);
  return { type: "ins", parent_id: op.parent_id, id: op.id, value: op.value };
}

/** Whether two operations say the same. */
export function isSameOp(a: Op | Retire, b: Op | Retire): boolean {
  return JSON.stringify(canonical(a)) === JSON.stringify(canonical(b));
}
