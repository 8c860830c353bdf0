/** The store of browsers: records in IndexedDB, each guarded by a Web Lock. */

import { FORMAT, type HeadRow, type OperationRow, readRecord } from "./record.ts";
import type { Kept, Slot, Store, Update } from "./store.ts";

const DATABASE = "collab-engine";
/** Of the database's layout; what is in a record has a version of its own. */
const LAYOUT = 1;
/** Heads, by document and replica. */
const HEADS = "replicas";
/** Operations, by document, replica and number. */
const OPERATIONS = "operations";

/** What the store is made of; the browser's own unless given. */
export interface StoreOptions {
  readonly indexedDB?: IDBFactory | undefined;
  readonly locks?: Pick<LockManager, "request"> | undefined;
}

/**
 * The store of this browser; `undefined` where IndexedDB or Web Locks are missing or refused (an insecure context, some
 * private modes), and where a newer version of this library has changed the database.
 */
export async function openStore(options: StoreOptions = {}): Promise<Store | undefined> {
  const factory = options.indexedDB ?? globalThis.indexedDB;
  const locks = options.locks ?? globalThis.navigator?.locks;
  if (!factory || !locks) return undefined;
  try {
    return new IndexedStore(await openDatabase(factory), locks);
  } catch {
    return undefined;
  }
}

function openDatabase(factory: IDBFactory): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = factory.open(DATABASE, LAYOUT);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(HEADS, { keyPath: ["doc", "client"] });
      request.result.createObjectStore(OPERATIONS, { keyPath: ["doc", "client", "number"] });
    };
    let isBlocked = false;
    request.onblocked = () => {
      isBlocked = true;
      reject(new Error("another page holds the database"));
    };
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const database = request.result;
      // A newer program, or whoever clears the site's data, goes first: from then on writes fail, and say so.
      database.onversionchange = () => database.close();
      if (isBlocked) database.close();
      resolve(database);
    };
  });
}

class IndexedStore implements Store {
  readonly #database: IDBDatabase;
  readonly #locks: Pick<LockManager, "request">;

  constructor(database: IDBDatabase, locks: Pick<LockManager, "request">) {
    this.#database = database;
    this.#locks = locks;
  }

  async list(doc: string): Promise<readonly string[]> {
    const transaction = this.#database.transaction(HEADS, "readonly");
    const keys = await result(transaction.objectStore(HEADS).getAllKeys(within(doc)));
    return keys.map((key) => (Array.isArray(key) ? String(key[1]) : ""));
  }

  claim(doc: string, client: string, signal?: AbortSignal): Promise<Slot> {
    return new Promise((resolve, reject) => {
      const held = () =>
        new Promise<void>((release) => {
          slot = new IndexedSlot(this.#database, doc, client, release);
          resolve(slot);
        });
      let slot: IndexedSlot | undefined;
      this.#locks.request(`collab-engine/${doc}/${client}`, signal ? { signal } : {}, held).catch((error) => {
        // Too late for the promise if the lock was stolen or fell with a frozen page.
        slot?.lose();
        reject(error);
      });
    });
  }
}

class IndexedSlot implements Slot {
  readonly client: string;
  readonly release: () => void;
  readonly #database: IDBDatabase;
  readonly #doc: string;
  #isLost = false;

  constructor(database: IDBDatabase, doc: string, client: string, release: () => void) {
    this.#database = database;
    this.#doc = doc;
    this.client = client;
    this.release = () => {
      this.lose();
      release();
    };
  }

  /** The right is gone: nothing is read or written any more. */
  lose(): void {
    this.#isLost = true;
  }

  async read(): Promise<Kept | undefined> {
    const transaction = this.#begin("readonly");
    const [head, operations] = await Promise.all([
      result<unknown>(transaction.objectStore(HEADS).get([this.#doc, this.client])),
      result<unknown[]>(transaction.objectStore(OPERATIONS).getAll(within(this.#doc, this.client))),
    ]);
    return head === undefined ? undefined : readRecord(head, operations);
  }

  /**
   * Not synced to the disk one by one: what a power failure takes back was not called saved. Numbers that the server
   * knows and the record does not make the replica doubt itself and compare by ids. But a change of identity is
   * synced: were it taken back, what was sent under the new identity would be made a second time from the old record.
   */
  async write({ head, add = [], removeBelow, replaces }: Update): Promise<void> {
    const transaction = this.#begin("readwrite", replaces === undefined ? "relaxed" : "strict");
    const [heads, operations] = [transaction.objectStore(HEADS), transaction.objectStore(OPERATIONS)];
    const key = { doc: this.#doc, client: this.client };
    if (replaces !== undefined) this.#eraseIn(transaction, replaces);
    if (head) heads.put({ ...key, format: FORMAT, head } satisfies HeadRow);
    if (removeBelow !== undefined) {
      operations.delete(IDBKeyRange.bound([key.doc, key.client], [key.doc, key.client, removeBelow], false, true));
    }
    for (const { number, op } of add) operations.put({ ...key, number, op } satisfies OperationRow);
    await completed(transaction);
  }

  async erase(): Promise<void> {
    const transaction = this.#begin("readwrite");
    this.#eraseIn(transaction, this.client);
    await completed(transaction);
  }

  #begin(mode: IDBTransactionMode, durability: IDBTransactionDurability = "relaxed"): IDBTransaction {
    if (this.#isLost) throw new Error("the record's lock is not held any more");
    return this.#database.transaction([HEADS, OPERATIONS], mode, { durability });
  }

  #eraseIn(transaction: IDBTransaction, client: string): void {
    transaction.objectStore(HEADS).delete([this.#doc, client]);
    transaction.objectStore(OPERATIONS).delete(within(this.#doc, client));
  }
}

/** All keys that begin with these parts: an array is above everything else that can be part of a key. */
function within(...parts: string[]): IDBKeyRange {
  return IDBKeyRange.bound(parts, [...parts, []]);
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the transaction was aborted"));
  });
}
