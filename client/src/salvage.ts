/** Saves what earlier page loads of a document left behind: closed or reloaded before their edits were acknowledged. */

import { Driver, type DriverListener, type Surroundings } from "./driver.ts";
import { Journal, savedOf } from "./journal.ts";
import { Replica } from "./replica/index.ts";
import type { Slot, Store } from "./store.ts";

/** Whom a salvage tells. */
export interface SalvageListener extends Pick<DriverListener, "refused" | "message" | "stepped"> {
  /** A record cannot be understood; it is left alone. */
  unreadable(client: string, error: unknown): void;
  /** The store cannot be read or written. */
  failed(error: unknown): void;
}

/** A record that was taken over. */
interface Found {
  readonly replica: Replica;
  readonly driver: Driver;
}

/**
 * Takes over every record of a document as soon as nobody holds it. For each one a replica without a view joins, sends
 * what is pending under the old identity and the old numbers, gets its answers, and ends.
 *
 * Whoever made the record may still be alive, in another tab or as the page that this one replaces: its lock is waited
 * for, so two instances never write under one identity.
 */
export class Salvage {
  readonly #doc: string;
  readonly #store: Store;
  readonly #surroundings: Surroundings;
  readonly #listener: SalvageListener;
  /** Records that are waited for, worked on, or no good. */
  readonly #known = new Set<string>();
  readonly #found = new Set<Found>();
  readonly #end = new AbortController();
  /** One after the other: each costs a connection. */
  #turn: Promise<void> = Promise.resolve();

  constructor(doc: string, store: Store, surroundings: Surroundings, listener: SalvageListener) {
    this.#doc = doc;
    this.#store = store;
    this.#surroundings = surroundings;
    this.#listener = listener;
  }

  /** Operations in records that were taken over and are not known to be durable. */
  get unsaved(): number {
    let count = 0;
    for (const { replica } of this.#found) count += replica.unacknowledgedCount;
    return count;
  }

  /** Looks for records of others than `own`, and takes them over when they are free. */
  look(own: string): void {
    this.#store.list(this.#doc).then(
      (clients) => {
        for (const client of clients) if (client !== own) this.#await(client);
      },
      (error) => this.#failed(error),
    );
  }

  /** Comes back now instead of after the wait. */
  reconnect(): void {
    for (const { driver } of this.#found) driver.reconnect();
  }

  /** Gives the connections up, as if they had broken. */
  disconnect(): void {
    for (const { driver } of this.#found) driver.disconnect();
  }

  /** Ends it. What is not done stays in its record. */
  async close(): Promise<void> {
    this.#end.abort();
    await Promise.all(Array.from(this.#found, ({ driver }) => driver.stop()));
  }

  #await(client: string): void {
    if (this.#known.has(client) || this.#end.signal.aborted) return;
    this.#known.add(client);
    this.#store.claim(this.#doc, client, this.#end.signal).then(
      (slot) => this.#open(slot),
      (error) => {
        this.#known.delete(client);
        if (!this.#end.signal.aborted) this.#failed(error);
      },
    );
  }

  /** Reads a record that nobody else holds: only now it is what it will stay. */
  async #open(slot: Slot): Promise<void> {
    try {
      const kept = await slot.read();
      const isDone = !kept || (kept.operations.length === 0 && !kept.head.rekey);
      if (isDone) {
        await slot.erase();
        this.#known.delete(slot.client);
      }
      if (isDone || this.#end.signal.aborted) {
        slot.release();
        return;
      }
      const replica = Replica.restore(this.#doc, savedOf(kept));
      const journal = new Journal(replica, this.#store, (error) => this.#failed(error), { slot, kept });
      this.#run(slot.client, replica, journal);
    } catch (error) {
      slot.release();
      this.#listener.unreadable(slot.client, error);
      this.#listener.stepped();
    }
  }

  #run(client: string, replica: Replica, journal: Journal): void {
    let finish = () => {};
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const { refused, message, stepped } = this.#listener;
    const driver = new Driver(replica, journal, this.#surroundings, {
      refused,
      message,
      stepped: () => {
        const isDone = replica.unacknowledgedCount === 0 && !replica.isRekeying;
        if (isDone || replica.status.state === "ended") {
          void driver.stop().then(finish);
          if (isDone && this.#found.delete(found)) this.#known.delete(client);
        }
        stepped();
      },
    });
    const found: Found = { replica, driver };
    this.#found.add(found);
    stepped();
    this.#turn = this.#turn.then(() => {
      driver.start();
      return done;
    });
  }

  #failed(error: unknown): void {
    this.#listener.failed(error);
    this.#listener.stepped();
  }
}
