/**
 * A document's content: the sequence, and what waits for elements that have not arrived.
 *
 * Integration is idempotent and independent of order. It does not judge: whether an operation is acceptable was decided
 * before it got its number.
 */

import { countOf, deletion, editsOf } from "./edit.ts";
import { compareNames, endOf, INTEGER_MAX, plus } from "./id.ts";
import type { Delta } from "./machine.ts";
import type { Run } from "./message.ts";
import type { Delete, Edit, ElementId, Insert, Op, Retire } from "./op.ts";
import { IdRanges } from "./ranges.ts";
import { Rga } from "./rga/index.ts";
import type { NodeSizes } from "./rga/tree.ts";
import { scalarCount, unitCount } from "./text.ts";

export { diff } from "./diff.ts";

/** Most ids of one deletion. */
const DELETION_MAX = 2 ** 32 - 1;

export class Document {
  readonly rga: Rga;
  /** Insertions by the element behind which they go, and which they miss: by replica, then Lamport value, in order. */
  readonly #inserts = new Map<string, Map<number, Insert[]>>();
  #insertCount = 0;
  /** Ids that were deleted and have not arrived: each waits for itself. */
  readonly #deletedAhead = new IdRanges();
  #highestWaiting = 0;

  /** An empty document, or one of a sequence. */
  constructor(rga = new Rga()) {
    this.rga = rga;
  }

  /** The visible text. */
  get text(): string {
    return this.rga.text();
  }

  /** Length of the visible text in UTF-16 units. */
  get length(): number {
    return this.rga.length;
  }

  /** All elements in document order, in the fewest runs that describe them. */
  runs(): Run[] {
    return this.rga.runs();
  }

  /** The edits that wait, in a fixed order. */
  get waiting(): Edit[] {
    const edits: Edit[] = [];
    for (const name of [...this.#inserts.keys()].sort(compareNames)) {
      const byLamport = [...(this.#inserts.get(name) ?? [])].sort(([a], [b]) => a - b);
      edits.push(...byLamport.flatMap(([, inserts]) => inserts));
    }
    return [...edits, ...deletions(this.#deletedAhead.all())];
  }

  /** How much waits: insertions, and single ids that were deleted before they arrived. */
  get waitingCount(): number {
    return this.#insertCount + this.#deletedAhead.count;
  }

  /** The largest Lamport value that the document holds: tombstones and waiting insertions included (W-5). */
  get highest(): number {
    return Math.max(this.rga.highest, this.#highestWaiting);
  }

  /** Integrates an operation; adds what became visible or vanished to `deltas`. */
  integrate(op: Op | Retire, deltas: Delta[]): void {
    for (const edit of editsOf(op)) this.#integrateEdit(edit, deltas);
  }

  /** Integrates one edit, and everything that waited for what it inserts: a chain may be long, so a work list. */
  #integrateEdit(edit: Edit, deltas: Delta[]): void {
    const arrived: Edit[] = [edit];
    for (let next = arrived.pop(); next; next = arrived.pop()) {
      if (next.type === "ins") this.#applyInsert(next, deltas);
      else this.#applyDelete(next, deltas);
      if (next.type === "ins" && this.waitingCount > 0)
        for (const released of this.#release(next)) arrived.push(released);
    }
  }

  /** Takes out what waited for the elements of an insertion, if it did insert them. */
  #release(insert: Insert): Edit[] {
    const { id } = insert;
    if (!this.rga.contains(id)) return [];
    const count = countOf(insert);
    const released: Edit[] = [];
    const waiting = this.#inserts.get(id[1]);
    for (let lamport = id[0]; waiting && lamport < endOf(id, count); lamport += 1) {
      const inserts = waiting.get(lamport);
      if (!inserts) continue;
      waiting.delete(lamport);
      this.#insertCount -= inserts.length;
      for (const waited of inserts) released.push(waited);
    }
    return [...released, ...deletions(this.#deletedAhead.take(id, count))];
  }

  #wait(insert: Insert): void {
    const [lamport, name] = insert.parent_id;
    this.#highestWaiting = Math.max(this.#highestWaiting, endOf(insert.id, countOf(insert)) - 1);
    const byLamport = this.#inserts.get(name) ?? new Map<number, Insert[]>();
    const inserts = byLamport.get(lamport) ?? [];
    this.#inserts.set(name, byLamport);
    byLamport.set(lamport, inserts);
    const slot = inserts.findIndex((other) => compareInserts(other, insert) >= 0);
    const beside = inserts[slot];
    if (beside && compareInserts(beside, insert) === 0) return;
    inserts.splice(slot < 0 ? inserts.length : slot, 0, insert);
    this.#insertCount += 1;
  }

  #applyInsert(insert: Insert, deltas: Delta[]): void {
    let { parent_id, id, value } = insert;
    // Whoever sends ids beyond the largest is refused before; what comes here anyway must not break the sequence.
    value = value.slice(0, unitCount(value, INTEGER_MAX + 1 - id[0]));
    while (value !== "") {
      const [exists, extent] = this.rga.extent(id, scalarCount(value));
      const text = value.slice(0, unitCount(value, extent));
      if (!exists) {
        const at = this.rga.insert(parent_id, id, text);
        if (at === undefined) {
          this.#wait({ type: "ins", parent_id, id, value });
          return;
        }
        deltas.push({ type: "insert", at, text });
      }
      value = value.slice(text.length);
      [parent_id, id] = [plus(id, extent - 1), plus(id, extent)];
    }
  }

  #applyDelete({ id, len = 1 }: Delete, deltas: Delta[]): void {
    let at = id;
    for (let left = endOf(id, len) - id[0]; left > 0; ) {
      const [exists, extent] = this.rga.extent(at, left);
      if (exists) this.rga.delete(at, extent, (at, len) => deltas.push({ type: "delete", at, len }));
      else this.#deletedAhead.add(at, extent);
      at = plus(at, extent);
      left -= extent;
    }
  }

  /** Builds the content that `runs` and `waiting` described; `undefined` if they contradict themselves or each other. */
  static fromState(runs: readonly Run[], waiting: readonly Edit[], sizes?: NodeSizes): Document | undefined {
    const rga = Rga.fromRuns(runs, sizes);
    if (!rga) return undefined;
    const document = new Document(rga);
    const deltas: Delta[] = [];
    for (const edit of waiting) {
      const waits = edit.type === "ins" ? 1 : (edit.len ?? 1);
      const expected = document.waitingCount + waits;
      document.#integrateEdit(edit, deltas);
      if (document.waitingCount !== expected || deltas.length > 0) return undefined;
    }
    return document;
  }

  /**
   * Makes the operation that inserts `text` at a position, for the caller to integrate. Its ids exceed everything that
   * the document holds (W-5), and `clock`. `undefined` if it is no position or the clock is at its end.
   */
  localInsert(clock: number, at: number, text: string, replica: string): Insert | undefined {
    const lamport = Math.max(this.highest, clock) + 1;
    if (!this.rga.isPosition(at) || lamport + (scalarCount(text) - 1) > INTEGER_MAX) return undefined;
    return { type: "ins", parent_id: this.rga.idBefore(at), id: [lamport, replica], value: text };
  }

  /** Makes the edits that delete `len` units from a position on; none if that is not a range of characters. */
  localDelete(at: number, len: number): Delete[] {
    if (!(this.rga.isPosition(at) && this.rga.isPosition(at + len))) return [];
    return this.rga.idsAt(at, at + len).map(([id, count]) => deletion(id, count));
  }
}

/** Orders insertions that wait for the same element. */
function compareInserts(a: Insert, b: Insert): number {
  return a.id[0] - b.id[0] || compareNames(a.id[1], b.id[1]) || compareNames(a.value, b.value);
}

/** The deletions of ranges of ids, each as long as a deletion can be. */
function deletions(ranges: readonly [ElementId, number][]): Delete[] {
  const edits: Delete[] = [];
  for (const [id, len] of ranges)
    for (let done = 0; done < len; done += DELETION_MAX)
      edits.push(deletion(plus(id, done), Math.min(DELETION_MAX, len - done)));
  return edits;
}
