import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { type Head, type Op, openStore, type Slot, type Store } from "../src/index.ts";
import { savedOf } from "../src/journal.ts";
import { clientOf, only } from "./support/client.ts";
import { FakeLocks } from "./support/locks.ts";
import { FakeServer } from "./support/server.ts";
import { rest, until } from "./support/turns.ts";

const OP: Op = { type: "ins", parent_id: [0, "root"], id: [1, "a"], value: "x" };
const HEAD: Head = { identity: { client: "a", secret: "s" }, attempt: 1, nextNumber: 1, clock: 0 };

let indexedDB: IDBFactory;
let locks: FakeLocks;

async function open(): Promise<Store> {
  const store = await openStore({ indexedDB, locks });
  if (!store) throw new Error("no store");
  return store;
}

/** The database itself. */
function raw(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("collab-engine");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function written(store: Store, doc: string, client: string): Promise<Slot> {
  const slot = await store.claim(doc, client);
  await slot.write({
    head: { ...HEAD, identity: { client, secret: "s" } },
    add: [1, 2, 3].map((number) => ({ number, op: OP })),
  });
  return slot;
}

beforeEach(() => {
  indexedDB = new IDBFactory();
  locks = new FakeLocks();
  vi.stubGlobal("IDBKeyRange", IDBKeyRange);
  return () => vi.unstubAllGlobals();
});

describe("records", () => {
  it("keeps what was written, by document and replica", async () => {
    const store = await open();
    const slot = await written(store, "notes", "a");
    await written(store, "notes2", "b");
    await written(store, "note", "c");
    await slot.write({ add: [{ number: 4, op: OP }], removeBelow: 3 });
    expect(await store.list("notes")).toEqual(["a"]);
    expect(await slot.read()).toEqual({ head: HEAD, operations: [3, 4].map((number) => ({ number, op: OP })) });
    await slot.erase();
    expect([await slot.read(), await store.list("notes"), await store.list("note")]).toEqual([undefined, [], ["c"]]);
  });

  it("moves a record to another identity in one step", async () => {
    const store = await open();
    await written(store, "notes", "a");
    const slot = await store.claim("notes", "b");
    const head = { ...HEAD, identity: { client: "b", secret: "t" } };
    await slot.write({ head, add: [{ number: 1, op: OP }], replaces: "a" });
    expect(await store.list("notes")).toEqual(["b"]);
    expect((await slot.read())?.operations).toEqual([{ number: 1, op: OP }]);
  });

  it("lets one hold a record at a time, and the next when it is given back", async () => {
    const [store, other] = [await open(), await open()];
    const slot = await store.claim("notes", "a");
    expect(locks.names).toEqual(["collab-engine/notes/a"]);
    let isGranted = false;
    const next = other.claim("notes", "a").then(() => {
      isGranted = true;
    });
    await rest();
    expect(isGranted).toBe(false);
    slot.release();
    await next;
    await expect(slot.write({ head: HEAD })).rejects.toThrow("not held");
    await expect(slot.read()).rejects.toThrow("not held");
  });

  it("stops to wait when told so", async () => {
    const store = await open();
    await store.claim("notes", "a");
    const end = new AbortController();
    const waiting = store.claim("notes", "a", end.signal);
    await rest();
    end.abort();
    await expect(waiting).rejects.toThrow();
  });

  it("understands nothing that is damaged or newer", async () => {
    const store = await open();
    const slot = await written(store, "notes", "a");
    const database = await raw();
    const put = (name: string, row: object) =>
      new Promise((resolve) => {
        const transaction = database.transaction(name, "readwrite");
        transaction.objectStore(name).put(row);
        transaction.oncomplete = resolve;
      });
    const key = { doc: "notes", client: "a" };
    for (const op of [{}, { type: "batch", ops: [] }, { ...OP, value: "" }, { type: "del", id: [1] }, undefined]) {
      await put("operations", { ...key, number: 3, op });
      const kept = await slot.read();
      expect(() => kept && savedOf(kept)).toThrow("an operation is damaged");
    }
    for (const head of [{}, { ...HEAD, attempt: -1 }, { ...HEAD, rekey: {} }, { ...HEAD, identity: undefined }]) {
      await put("replicas", { ...key, format: 1, head });
      await expect(slot.read()).rejects.toThrow("the head of a record is damaged");
    }
    await put("replicas", { ...key, format: 2, head: HEAD });
    await expect(slot.read()).rejects.toThrow("format 2");
    database.close();
  });
});

describe("the database", () => {
  it("is not there without IndexedDB, without locks, or if it cannot be opened", async () => {
    expect(await openStore()).toBeUndefined();
    expect(await openStore({ indexedDB })).toBeUndefined();
    expect(await openStore({ locks })).toBeUndefined();
    const newer = indexedDB.open("collab-engine", 99);
    await new Promise((resolve) => {
      newer.onsuccess = resolve;
    });
    newer.result.close();
    expect(await openStore({ indexedDB, locks })).toBeUndefined();
  });

  it("makes way for a newer version, and the client goes on without it", async () => {
    const server = new FakeServer();
    const { client, told } = clientOf(server, { store: await open() });
    await until(() => client.status.state === "live");
    const upgrade = indexedDB.open("collab-engine", 99);
    await new Promise((resolve) => {
      upgrade.onsuccess = resolve;
    });
    client.insert(0, "a");
    await until(() => client.unsaved === 0);
    expect([server.text, only(told, "persistence").length]).toEqual(["a", 1]);
    await client.close();
    upgrade.result.close();
  });

  it("brings back after a reload what was not acknowledged", async () => {
    const server = new FakeServer();
    server.isDeaf = true;
    const before = clientOf(server, { store: await open() }).client;
    before.insert(0, "kept");
    before.delete(1, 2);
    await until(() => server.said("op").length === 2);
    await before.close();
    server.isDeaf = false;
    const { client } = clientOf(server, { store: await open() });
    await until(() => client.text === "kt" && client.unsaved === 0);
    expect(server.log.map(({ origin }) => origin)).toEqual([before.clientId, before.clientId]);
    await client.saved();
    await until(() => locks.names.length === 0);
    expect(await (await open()).list("notes")).toEqual([]);
    await client.close();
  });
});
