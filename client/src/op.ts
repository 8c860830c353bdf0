/** Operations, in the shape in which they travel (docs/protocol.md, section 5). */

/** Names one element and orders it: a Lamport value and the replica that inserted it. The root is `[0, "root"]`. */
export type ElementId = readonly [lamport: number, replica: string];

/** What the first element of a document goes behind. */
export const ROOT: ElementId = [0, "root"];

/** Inserts a run: character *i* gets the id `[lamport + i, replica]`; each one goes behind the one before it. */
export interface Insert {
  readonly type: "ins";
  readonly parent_id: ElementId;
  readonly id: ElementId;
  readonly value: string;
}

/** Deletes `len` (default 1) elements with consecutive ids. */
export interface Delete {
  readonly type: "del";
  readonly id: ElementId;
  readonly len?: number;
}

/** One edit. */
export type Edit = Insert | Delete;

/** Edits in order, as a whole or not at all; not empty. */
export interface Batch {
  readonly type: "batch";
  readonly ops: readonly Edit[];
}

/** Ends a replica for ever: written by the server when a client rekeys. */
export interface Retire {
  readonly type: "retire";
  readonly client_id: string;
}

/** What a client makes. */
export type Op = Edit | Batch;
