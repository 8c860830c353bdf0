/** What follows from operations alone. */

import type { Delete, Edit, ElementId, Op, Retire } from "./op.ts";
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

/** Whether two operations say the same. Wherever one is made or read, its fields stand in the same order. */
export function isSameOp(a: Op | Retire, b: Op | Retire): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
