/** What changed between two documents, found by the ids of their elements. */

import type { Document } from "./document.ts";
import type { Delta } from "./machine.ts";
import type { ElementId } from "./op.ts";
import type { Rga } from "./rga/index.ts";
import { type Segment, segments } from "./rga/tree.ts";
import { isInsidePair, unitCount } from "./text.ts";

/** Steps through the elements of a sequence. */
class Cursor {
  readonly #segments: Generator<Segment, void>;
  #segment: Segment | undefined;
  /** How many elements of the segment are done. */
  #done = 0;

  constructor(rga: Rga) {
    this.#segments = segments(rga.root);
    this.#segment = this.#segments.next().value ?? undefined;
  }

  /** The next element; `undefined` at the end. */
  get id(): ElementId | undefined {
    return this.#segment && [this.#segment.lamport + this.#done, this.#segment.author.name];
  }

  /** How many elements follow with consecutive ids, all visible or all deleted: at least 1 before the end. */
  get len(): number {
    return this.#segment ? this.#segment.len - this.#done : 0;
  }

  /** Steps over `count` of them; answers their text. */
  take(count: number): string {
    const text = this.#segment?.text ?? "";
    const end = this.#done + count;
    const taken = text.slice(unitCount(text, this.#done), unitCount(text, end));
    this.#done = end;
    if (this.len === 0) {
      this.#segment = this.#segments.next().value ?? undefined;
      this.#done = 0;
    }
    return taken;
  }
}

/**
 * The changes that turn the text of one document into that of another, in order. What both hold stands in the same
 * order in both, so one walk finds what is in one of them alone. A stretch that vanished and came back under other ids
 * counts as unchanged, as far as it does at its beginning and its end.
 */
export function diff(before: Document, after: Document): Delta[] {
  const deltas: Delta[] = [];
  const [old, now] = [new Cursor(before.rga), new Cursor(after.rga)];
  let [at, gone, come] = [0, "", ""];
  const flush = () => {
    pushReplacement(deltas, at, gone, come);
    [at, gone, come] = [at + come.length, "", ""];
  };
  for (;;) {
    const [a, b] = [old.id, now.id];
    if (!a && !b) break;
    if (a && b && a[0] === b[0] && a[1] === b[1]) {
      const count = Math.min(old.len, now.len);
      const [was, is] = [old.take(count), now.take(count)];
      if (was !== is) [gone, come] = [gone + was, come + is];
      else if (is !== "") {
        flush();
        at += is.length;
      }
      continue;
    }
    const [wasThere, count] = a && b ? before.rga.extent(b, now.len) : [!b, now.len];
    if (!wasThere) come += now.take(count);
    // Only in the old one; or in both in another order, which no server leads to: then it is written anew.
    else gone += old.take(a && b ? after.rga.extent(a, old.len)[1] : old.len);
  }
  flush();
  return deltas;
}

/** Adds what replaces one text by another, without what both begin and end with. */
function pushReplacement(deltas: Delta[], at: number, gone: string, come: string): void {
  const length = Math.min(gone.length, come.length);
  let prefix = 0;
  while (prefix < length && gone[prefix] === come[prefix]) prefix += 1;
  if (isInsidePair(gone, prefix) || isInsidePair(come, prefix)) prefix -= 1;
  let suffix = 0;
  while (suffix < length - prefix && gone.at(-1 - suffix) === come.at(-1 - suffix)) suffix += 1;
  if (isInsidePair(gone, gone.length - suffix) || isInsidePair(come, come.length - suffix)) suffix -= 1;
  const len = gone.length - prefix - suffix;
  const text = come.slice(prefix, come.length - suffix);
  if (len > 0) deltas.push({ type: "delete", at: at + prefix, len });
  if (text !== "") deltas.push({ type: "insert", at: at + prefix, text });
}
