/** Becoming a new instance: making edits again on another document, with fresh ids. */

import type { Document } from "../document.ts";
import { countOf, deletion, editsOf } from "../edit.ts";
import { INTEGER_MAX, isRoot, plus } from "../id.ts";
import type { Identity } from "../machine.ts";
import { type Delete, type Edit, type ElementId, type Insert, type Op, ROOT } from "../op.ts";
import { countUpTo } from "../rga/tree.ts";

/** A rekey that is under way. */
export interface Rekey {
  /** The fresh identity, once a connection brought one. */
  successor?: Identity | undefined;
  /** Messages that were refused for good, with the code: handed to the application, not made again. */
  readonly refused: [number: number, code: string][];
  /** What `hello_ack` said of the old identity: the number of its last accepted message, if there is a record. */
  replacedLast?: number | undefined;
  /** The document knows more of the old identity than this replica: elements, not numbers, tell what was accepted. */
  isDoubtful: boolean;
}

/** Whether an operation of the old identity was accepted, as far as the joined document can tell. */
export function isAccepted(rekey: Rekey, number: number, op: Op, joined: Document): boolean {
  if (rekey.isDoubtful) return editsOf(op).some((edit) => edit.type === "ins" && isHeld(edit, joined));
  if (rekey.replacedLast !== undefined) return number <= rekey.replacedLast;
  // With no record of the client, its elements tell. What only deletes is made again, which does no harm.
  return editsOf(op).some((edit) => edit.type === "ins" && joined.rga.contains(edit.id));
}

/** Whether a document holds a run, character by character as far as it shows: an id may have been used twice. */
function isHeld({ id, value }: Insert, document: Document): boolean {
  return [...value].every((own, distance) => {
    const held = document.rga.value(plus(id, distance));
    return held === own || held === "";
  });
}

/** What runs of ids map to: by replica, in order, their first Lamport values, lengths, and what belongs to them. */
class Runs {
  readonly #runs = new Map<string, [first: number, len: number, to: ElementId][]>();

  put([first, name]: ElementId, len: number, to: ElementId): void {
    const runs = this.#runs.get(name) ?? [];
    this.#runs.set(name, runs);
    const slot = countUpTo(runs, ([other]) => other < first);
    runs.splice(slot, runs[slot]?.[0] === first ? 1 : 0, [first, len, to]);
  }

  /** The run that holds an element: the distance from its first one, and what the run maps to. */
  find([lamport, name]: ElementId): [distance: number, to: ElementId] | undefined {
    const runs = this.#runs.get(name) ?? [];
    const run = runs[countUpTo(runs, ([first]) => first <= lamport) - 1];
    return run && lamport < run[0] + run[1] ? [lamport - run[0], run[2]] : undefined;
  }
}

/** Where the elements of an old document went: own pending ones have new ids. */
export class Translation {
  readonly #old: Document;
  readonly #joined: Document;
  readonly #client: string;
  /** New first ids of inserted runs, by the old ones. */
  readonly #runs = new Runs();
  /** What the runs that wait go behind. After a restart the old document has no other order than this. */
  readonly #behind = new Runs();

  /** What is made again is `client`'s, on the `joined` document. */
  constructor(old: Document, joined: Document, client: string) {
    this.#old = old;
    this.#joined = joined;
    this.#client = client;
    for (const edit of old.waiting) {
      // By W-3 the way to the left ends; what breaks it came from a server that breaks the protocol.
      if (edit.type === "ins" && edit.parent_id[0] < edit.id[0])
        this.#behind.put(edit.id, countOf(edit), edit.parent_id);
    }
  }

  #moved(old: ElementId): ElementId | undefined {
    const found = this.#runs.find(old);
    if (!found) return undefined;
    const id = plus(found[1], found[0]);
    return id[0] <= INTEGER_MAX ? id : undefined;
  }

  /** The element to the left in the old order. */
  #leftOf(id: ElementId): ElementId {
    if (this.#old.rga.contains(id)) return this.#old.rga.predecessor(id);
    const [distance, parent] = this.#behind.find(id) ?? [0, ROOT];
    return distance === 0 ? parent : plus(id, -1);
  }

  /** The element itself, under its new id if it has one, if it still exists. */
  #same(id: ElementId): ElementId | undefined {
    return this.#moved(id) ?? (this.#joined.rga.contains(id) ? id : undefined);
  }

  /** The parent to use: the element itself or the nearest one to its left, in the old order, that still exists. */
  #parent(parent: ElementId): ElementId {
    let at = parent;
    while (!isRoot(at)) {
      const found = this.#same(at);
      if (found) return found;
      at = this.#leftOf(at);
    }
    return at;
  }

  /** Makes an operation again and integrates it. Deletions of vanished elements are left out. */
  again(op: Op): Edit[] {
    const made: Edit[] = [];
    for (const edit of editsOf(op))
      for (const fresh of edit.type === "ins" ? this.#insert(edit) : this.#delete(edit)) {
        this.#joined.integrate(fresh, []);
        made.push(fresh);
      }
    return made;
  }

  #insert(insert: Insert): Insert[] {
    const parent_id = this.#parent(insert.parent_id);
    if (this.#joined.highest === INTEGER_MAX) return [];
    const id = [this.#joined.highest + 1, this.#client] as const;
    this.#runs.put(insert.id, countOf(insert), id);
    return [{ type: "ins", parent_id, id, value: insert.value }];
  }

  #delete({ id, len = 1 }: Delete): Delete[] {
    const ranges: [ElementId, number][] = [];
    for (let distance = 0; distance < len && id[0] + distance <= INTEGER_MAX; distance += 1) {
      const at = this.#same(plus(id, distance));
      if (!at) continue;
      const last = ranges.at(-1);
      if (last && last[0][1] === at[1] && last[0][0] + last[1] === at[0]) last[1] += 1;
      else ranges.push([at, 1]);
    }
    return ranges.map(([first, count]) => deletion(first, count));
  }
}
