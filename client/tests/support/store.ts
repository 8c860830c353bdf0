/** A store in memory, with its locks: what several pages of one browser share. */

import { readRecord } from "../../src/record.ts";
import type { Kept, Numbered, Slot, Store, Update } from "../../src/store.ts";

/** Everything that is kept, and who holds what. */
export class FakeBrowser {
  /** By replica; as JSON, so that nothing is shared with whoever wrote it. */
  readonly records = new Map<string, { head: string; operations: Map<number, string> }>();
  readonly holders = new Map<string, FakeSlot>();
  readonly waiting: { readonly client: string; readonly grant: () => void }[] = [];
  readonly updates: Update[] = [];
  /** Writes wait while this is set: all of them, or those that move a record to another identity. */
  gate: Promise<void> | undefined;
  isGateForMoves = false;
  /** Writes fail with this. */
  failure: Error | undefined;
  /** Whether records cannot be made, though those that are there can be changed. */
  refusesNew = false;

  /** The store as one page sees it. */
  page(): FakePage {
    return new FakePage(this);
  }

  kept(client: string): Kept | undefined {
    const record = this.records.get(client);
    if (!record) return undefined;
    const operations = [...record.operations].sort(([a], [b]) => a - b).map(([, json]) => JSON.parse(json) as Numbered);
    return readRecord(JSON.parse(record.head), operations);
  }

  next(client: string): void {
    this.holders.delete(client);
    const at = this.waiting.findIndex((each) => each.client === client);
    if (at >= 0) this.waiting.splice(at, 1)[0]?.grant();
  }
}

/** One page's view. When it crashes, all its locks fall and none of its writes happens any more. */
export class FakePage implements Store {
  isDead = false;
  readonly browser: FakeBrowser;
  readonly #slots = new Set<FakeSlot>();

  constructor(browser: FakeBrowser) {
    this.browser = browser;
  }

  crash(): void {
    this.isDead = true;
    for (const slot of this.#slots) slot.release();
  }

  async list(): Promise<readonly string[]> {
    return [...this.browser.records.keys()];
  }

  claim(_doc: string, client: string, signal?: AbortSignal): Promise<Slot> {
    return new Promise((resolve, reject) => {
      const grant = () => {
        if (signal?.aborted || this.isDead) return this.browser.next(client);
        const slot = new FakeSlot(this, client);
        this.#slots.add(slot);
        this.browser.holders.set(client, slot);
        resolve(slot);
      };
      signal?.addEventListener("abort", () => reject(signal.reason));
      if (this.browser.holders.has(client)) this.browser.waiting.push({ client, grant });
      else grant();
    });
  }
}

class FakeSlot implements Slot {
  readonly client: string;
  readonly #page: FakePage;

  constructor(page: FakePage, client: string) {
    this.#page = page;
    this.client = client;
  }

  release(): void {
    if (this.#page.browser.holders.get(this.client) === this) this.#page.browser.next(this.client);
  }

  async read(): Promise<Kept | undefined> {
    this.#assertHeld();
    return this.#page.browser.kept(this.client);
  }

  async write(update: Update): Promise<void> {
    if (!this.#page.browser.isGateForMoves || update.replaces !== undefined) await this.#page.browser.gate;
    await this.#commit();
    const { records, updates, refusesNew } = this.#page.browser;
    if (refusesNew && !records.has(this.client)) throw new Error("no room");
    updates.push(update);
    if (update.replaces !== undefined) records.delete(update.replaces);
    const record = records.get(this.client) ?? { head: "", operations: new Map<number, string>() };
    if (update.head) record.head = JSON.stringify({ format: 1, head: update.head });
    for (const number of [...record.operations.keys()]) {
      if (number < (update.removeBelow ?? 0)) record.operations.delete(number);
    }
    for (const { number, op } of update.add ?? []) record.operations.set(number, JSON.stringify({ number, op }));
    records.set(this.client, record);
  }

  async erase(): Promise<void> {
    if (!this.#page.browser.isGateForMoves) await this.#page.browser.gate;
    await this.#commit();
    this.#page.browser.records.delete(this.client);
  }

  async #commit(): Promise<void> {
    await undefined;
    this.#assertHeld();
    if (this.#page.browser.failure) throw this.#page.browser.failure;
    // The program of a dead page does not go on.
    if (this.#page.isDead) await new Promise(() => undefined);
  }

  #assertHeld(): void {
    if (!this.#page.isDead && this.#page.browser.holders.get(this.client) !== this) throw new Error("not held");
  }
}
