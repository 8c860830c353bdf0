/** Keeps a record up to date with a replica, and holds frames back until what they rest on is kept. */

import { decodeOp } from "./codec/index.ts";
import { countOf, editsOf } from "./edit.ts";
import { endOf } from "./id.ts";
import type { Saved } from "./machine.ts";
import type { Op } from "./op.ts";
import type { Replica } from "./replica/index.ts";
import type { Head, Kept, Numbered, Slot, Store, Update } from "./store.ts";

/** How long the store may take for one step, in milliseconds. One that takes longer is given up: it may never answer. */
const PATIENCE_MS = 10_000;

/** What the record holds, or will when the write under way is done. */
interface Written {
  /** `undefined` if there is no record. */
  readonly head: Head | undefined;
  /** Its operations are those from `first` on, below `next`. */
  readonly first: number;
  readonly next: number;
}

const NOTHING: Written = { head: undefined, first: 1, next: 1 };

/**
 * The record of one replica. It is made with the first operation and not before: a page that is only read writes
 * nothing. Typing adds the operation alone and its acknowledgement removes it alone; the head is written again when the
 * identity, the attempt or a rekey changes while there is something to keep.
 */
export class Journal {
  readonly #replica: Replica;
  readonly #store: Store | undefined;
  readonly #onFailure: (error: unknown) => void;
  #slot: Slot | undefined;
  /** All that are held: one that a write failed on is not given back, since the write may still happen. */
  readonly #slots = new Set<Slot>();
  #written: Written = NOTHING;
  /** As of the last look; compared by reference with what is written. */
  #head: Head;
  /** Counts the states that frames have to wait for. */
  #state = 0;
  #keptState = 0;
  readonly #held: { readonly state: number; readonly leave: () => void }[] = [];
  #writing: Promise<void> | undefined;
  #isBroken = false;
  #isClosed = false;

  /**
   * `onFailure` is called once, if storing fails; from then on nothing is waited for. `found` is the record that the
   * replica was restored from, with the right to it.
   */
  constructor(
    replica: Replica,
    store: Store | undefined,
    onFailure: (error: unknown) => void,
    found?: { readonly slot: Slot; readonly kept: Kept },
  ) {
    this.#replica = replica;
    this.#store = store;
    this.#onFailure = onFailure;
    this.#head = found?.kept.head ?? headOf(replica.saved());
    if (found) {
      this.#take(found.slot);
      const first = found.kept.operations[0]?.number ?? replica.nextNumber;
      this.#written = { head: found.kept.head, first, next: replica.nextNumber };
    }
  }

  /** Looks at what the last step changed. `hasOpened`: a connection was opened, which raises the attempt. */
  note(hasOpened: boolean): void {
    if (!this.#store || this.#isClosed) return;
    const replica = this.#replica;
    // To ask for all that is saved takes as long as much is pending: not at every keystroke or acknowledgement.
    if (hasOpened || replica.isRekeying || replica.identity.client !== this.#head.identity.client) {
      const head = headOf(replica.saved());
      if (!isSame(head, this.#head)) this.#head = head;
    }
    if (this.#isAhead()) this.#state++;
    if (this.#isAhead() || this.#isBehind()) this.#writing ??= this.#write();
  }

  /** Calls `leave` when everything noted so far is kept, and everything that waited before it has left. */
  whenKept(leave: () => void): void {
    if (this.#keptState === this.#state && this.#held.length === 0) leave();
    else this.#held.push({ state: this.#state, leave });
  }

  /** Finishes: a record that holds nothing any more is removed, any other stays. Gives the right to it back. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#held.length = 0;
    await this.#writing;
    try {
      if (this.#slot && this.#written.head && !this.#isBroken && !this.#isWorthKeeping()) await this.#slot.erase();
    } catch (error) {
      this.#fail(error);
    } finally {
      for (const slot of this.#slots) slot.release();
    }
  }

  #isWorthKeeping(): boolean {
    return this.#replica.unacknowledgedCount > 0 || this.#replica.isRekeying;
  }

  #isOther(head: Head | undefined): boolean {
    return head !== undefined && head.identity.client !== this.#head.identity.client;
  }

  /** Whether something has to be kept before the next frame leaves. */
  #isAhead(): boolean {
    // Under a new identity the old record must not come back: its operations are made again, and would be once more.
    if (this.#isBroken || !this.#isWorthKeeping()) return this.#isOther(this.#written.head);
    return this.#head !== this.#written.head || this.#replica.nextNumber !== this.#written.next;
  }

  /** Whether operations are kept that need not be. */
  #isBehind(): boolean {
    return !this.#isBroken && this.#slot !== undefined && this.#firstUnacknowledged() !== this.#written.first;
  }

  #firstUnacknowledged(): number {
    return this.#replica.nextNumber - this.#replica.unacknowledgedCount;
  }

  async #write(): Promise<void> {
    // Begins behind the step that caused it, and takes whatever else happens in the same turn along.
    await undefined;
    while (this.#isAhead() || this.#isBehind()) {
      try {
        await this.#writeOnce();
      } catch (error) {
        this.#fail(error);
      }
    }
    this.#writing = undefined;
    this.#leave(this.#state);
  }

  async #writeOnce(): Promise<void> {
    const covered = this.#state;
    if (this.#isBroken || (!this.#isWorthKeeping() && this.#isOther(this.#written.head))) {
      this.#written = { head: undefined, first: this.#firstUnacknowledged(), next: this.#replica.nextNumber };
      const old = this.#slot;
      this.#slot = undefined;
      await inTime(old?.erase());
      this.#giveBack(old);
      this.#leave(covered);
      return;
    }
    const slot = await this.#slotOf(this.#head.identity.client);
    // Another connection may have brought another identity meanwhile.
    if (slot.client !== this.#head.identity.client) {
      slot.release();
      return;
    }
    const [before, state] = [this.#written, this.#state];
    this.#slots.add(slot);
    try {
      await inTime(slot.write(this.#update()));
    } catch (error) {
      this.#written = before;
      this.#slot ??= slot;
      throw error;
    }
    if (slot !== this.#slot) this.#giveBack(this.#slot);
    this.#take(slot);
    this.#leave(state);
  }

  #take(slot: Slot): void {
    this.#slots.add(slot);
    this.#slot = slot;
  }

  #giveBack(slot: Slot | undefined): void {
    if (slot && this.#slots.delete(slot)) slot.release();
  }

  async #slotOf(client: string): Promise<Slot> {
    if (this.#slot?.client === client) return this.#slot;
    if (!this.#store) throw new Error("there is no store");
    return await inTime(this.#store.claim(this.#replica.doc, client));
  }

  /** What is missing in the record, which from now on counts as written. */
  #update(): Update {
    const { head: old, next: oldNext } = this.#written;
    const isNew = !old || this.#isOther(old);
    const [first, next] = [this.#firstUnacknowledged(), this.#replica.nextNumber];
    const isHeadNew = this.#head !== old && this.#isWorthKeeping();
    if (isHeadNew) this.#head = headOf(this.#replica.saved());
    const head = isHeadNew ? this.#head : old;
    const removesBelow = !isNew && first !== this.#written.first;
    this.#written = { head, first, next };
    return {
      ...(isHeadNew && head ? { head } : {}),
      add: this.#operations(isNew ? first : Math.max(oldNext, first)),
      ...(removesBelow ? { removeBelow: first } : {}),
      ...(old && isNew ? { replaces: old.identity.client } : {}),
    };
  }

  /** The pending operations from a number on. */
  #operations(from: number): Numbered[] {
    const { pending, nextNumber } = this.#replica;
    return pending.slice(pending.length - (nextNumber - from)).map(({ number, op }) => ({ number, op }));
  }

  #fail(error: unknown): void {
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#onFailure(error);
  }

  /** Lets go of the frames that waited for states up to this one. */
  #leave(state: number): void {
    this.#keptState = state;
    while (this.#held[0] && this.#held[0].state <= state) this.#held.shift()?.leave();
  }
}

/** What to restore a replica from. Throws an error if an operation is none that could be sent. */
export function savedOf({ head, operations }: Kept): Saved {
  const { identity, attempt, nextNumber, clock, rekey } = head;
  const pending = operations.map(({ number, op }) => {
    const read = decodeOp(JSON.stringify(op));
    if (!read) throw new Error("an operation is damaged");
    return [number, read] as const;
  });
  return {
    identity,
    attempt,
    next_number: (pending.at(-1)?.[0] ?? nextNumber - 1) + 1,
    clock: pending.reduce((highest, [, op]) => Math.max(highest, clockOf(op)), clock),
    pending,
    ...(rekey ? { rekey } : {}),
  };
}

function headOf(saved: Saved): Head {
  const { identity, attempt, next_number: nextNumber, clock, rekey } = saved;
  return { identity, attempt, nextNumber, clock, ...(rekey ? { rekey } : {}) };
}

/** Whether two heads differ in nothing but what the operations beside them tell. */
function isSame(a: Head, b: Head): boolean {
  const key = ({ identity, attempt, rekey }: Head) => JSON.stringify([identity.client, attempt, rekey]);
  return key(a) === key(b);
}

/** The largest Lamport value that an operation mints; 0 if it only deletes. */
function clockOf(op: Op): number {
  const ends = editsOf(op).map((edit) => (edit.type === "ins" ? endOf(edit.id, countOf(edit)) - 1 : 0));
  return Math.max(...ends);
}

/** The promise, or an error if it takes too long. */
function inTime<T>(promise: T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the store did not answer in ${PATIENCE_MS} ms`)), PATIENCE_MS);
    Promise.resolve(promise)
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}
