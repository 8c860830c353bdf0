/** What a client keeps over the end of its program: its identity and the operations that nobody acknowledged yet. */

import type { Identity, SavedRekey } from "./machine.ts";
import type { Op } from "./op.ts";

/** What is kept of a replica beside its operations. */
export interface Head {
  readonly identity: Identity;
  /** The `attempt` of its last `hello`. */
  readonly attempt: number;
  /** The number of its next operation, when this was written: the operations beside it can say more. */
  readonly nextNumber: number;
  /** The largest Lamport value it minted, when this was written: the operations beside it can say more. */
  readonly clock: number;
  readonly rekey?: SavedRekey;
}

/** An operation and its message number. */
export interface Numbered {
  readonly number: number;
  readonly op: Op;
}

/** All that is kept of a replica. */
export interface Kept {
  readonly head: Head;
  /** By number, ascending. */
  readonly operations: readonly Numbered[];
}

/** One change of a record: as a whole or not at all. */
export interface Update {
  /** Replaces the head. */
  readonly head?: Head;
  /** Operations to add. */
  readonly add?: readonly Numbered[];
  /** Operations below this number are removed. */
  readonly removeBelow?: number;
  /** The replica was this one before: its record is erased. It is held by the same program. */
  readonly replaces?: string;
}

/** The exclusive right to one record, for as long as it is held. */
export interface Slot {
  /** The replica whose record it is. */
  readonly client: string;
  /** What is kept; `undefined` if there is no record. Rejects if it cannot be understood. */
  read(): Promise<Kept | undefined>;
  /** Applies a change; resolves when it is kept. */
  write(update: Update): Promise<void>;
  /** Removes the record. */
  erase(): Promise<void>;
  /** Gives the right back. Ends with the program at the latest, however that ends. */
  release(): void;
}

/**
 * Where records are kept, one for each replica of a document. `openStore` gives one for browsers; other programs can
 * bring their own. What it promises: a slot is held by one program at a time, and is free once that has ended.
 */
export interface Store {
  /** The replicas of a document that have a record. */
  list(doc: string): Promise<readonly string[]>;
  /** Waits until nobody holds the slot of a replica, and takes it. Rejects when `signal` aborts before that. */
  claim(doc: string, client: string, signal?: AbortSignal): Promise<Slot>;
}
