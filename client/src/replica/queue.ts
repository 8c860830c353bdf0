/** Own operations of one identity: numbered, settled, let go of. */

import { countOf, editsOf } from "../edit.ts";
import { INTEGER_MAX } from "../id.ts";
import type { Op } from "../op.ts";

/** An own operation that is not settled. */
export interface Pending {
  readonly number: number;
  readonly op: Op;
  /** The number at which it is certainly integrated, once it is acknowledged. */
  readonly settled?: number;
}

interface Own {
  readonly number: number;
  readonly op: Op;
  /** `answered` and `seen` as they were sent first: a message never changes after that. */
  sentAs?: readonly [answered: number, seen: number];
  settled?: number;
}

export class Queue {
  /** Unsettled operations, oldest first, numbered without gaps. */
  pending: Own[] = [];
  /** The number of the next operation. */
  next: number;
  /** All messages up to this number are answered. */
  answered: number;
  /** The largest Lamport value minted under this identity. */
  clock: number;
  /** Messages up to this number were settled before the last restart: what they said is not known any more. */
  readonly forgotten: number;

  constructor(forgotten = 0, clock = 0) {
    this.next = forgotten + 1;
    this.answered = forgotten;
    this.clock = clock;
    this.forgotten = forgotten;
  }

  push(op: Op): void {
    for (const edit of editsOf(op)) {
      const last = edit.id[0] + (countOf(edit) - 1);
      if (edit.type === "ins" && last <= INTEGER_MAX) this.clock = Math.max(this.clock, last);
    }
    this.pending.push({ number: this.next, op });
    this.next += 1;
  }

  /** The number of the oldest operation, or of the next one if there is none. */
  get first(): number {
    return this.next - this.pending.length;
  }

  /** How many of the operations are acknowledged: they stand before the others. */
  get settledCount(): number {
    const open = this.pending.findIndex((own) => own.settled === undefined);
    return open < 0 ? this.pending.length : open;
  }

  /**
   * Operations up to `number` are accepted, and integrated once `at` is; answers those that are new to it. A restored
   * backup may hold one under a smaller number than the history did that it replaced.
   */
  settle(number: number, at: number): Op[] {
    const acknowledged: Op[] = [];
    for (const own of this.pending) {
      if (own.number > number) break;
      if (own.settled === undefined) acknowledged.push(own.op);
      own.settled = Math.min(own.settled ?? at, at);
    }
    this.answered = Math.max(this.answered, Math.min(number, this.next - 1));
    return acknowledged;
  }

  /** Lets go of settled operations that are integrated when everything up to `lastSeen` is. */
  drop(lastSeen: number): void {
    const kept = this.pending.findIndex((own) => own.settled === undefined || own.settled > lastSeen);
    this.pending.splice(0, kept < 0 ? this.pending.length : kept);
  }
}
