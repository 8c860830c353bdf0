/** What is kept over the end of a page, and what becomes of it: on a store in memory whose writes can be held. */

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Client, Update } from "../src/index.ts";
import { clientOf, only } from "./support/client.ts";
import { FakeServer } from "./support/server.ts";
import { FakeBrowser, type FakePage } from "./support/store.ts";
import { rest, until } from "./support/turns.ts";

const clients: Client[] = [];
let server: FakeServer;
let browser: FakeBrowser;

function open(page: FakePage = browser.page(), options: Parameters<typeof clientOf>[1] = {}) {
  const made = clientOf(server, { store: page, ...options });
  clients.push(made.client);
  return { ...made, page };
}

async function live(...args: Parameters<typeof open>) {
  const made = open(...args);
  await until(() => made.client.status.state === "live");
  await rest();
  return made;
}

/** Ends a page as a crash does: nothing of it goes on, and the server has not noticed yet. */
function crash({ client, page }: { client: Client; page: FakePage }): void {
  clients.splice(clients.indexOf(client), 1);
  page.crash();
  for (const socket of server.sockets) if (socket.client === client.clientId) socket.isClosed = true;
}

/** A page that ended at once, with edits that nobody acknowledged. */
async function orphan(...texts: string[]): Promise<string> {
  server.isDeaf = true;
  const made = await live();
  for (const text of texts) made.client.insert(made.client.length, text);
  await rest();
  crash(made);
  server.isDeaf = false;
  return made.client.clientId;
}

/** Makes time pass until something is so. */
async function eventually(isSo: () => boolean): Promise<void> {
  for (let round = 0; round < 20 && !isSo(); round++) {
    vi.advanceTimersByTime(250);
    await rest();
  }
  expect(isSo()).toBe(true);
}

beforeEach(() => {
  server = new FakeServer();
  browser = new FakeBrowser();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});

afterEach(async () => {
  browser.gate = undefined;
  browser.failure = undefined;
  await Promise.all(clients.splice(0).map((client) => client.close()));
  vi.useRealTimers();
});

describe("keeping", () => {
  it("lets no operation leave before it is kept, and keeps the order", async () => {
    const { client } = await live();
    let openGate = () => {};
    browser.gate = new Promise((resolve) => {
      openGate = resolve;
    });
    client.insert(0, "a");
    client.insert(1, "b");
    void client.saved().catch(() => undefined);
    await rest();
    expect(server.last.said.map(({ type }) => type)).toEqual(["hello"]);
    openGate();
    await until(() => client.unsaved === 0);
    expect(server.last.said.map(({ type }) => type)).toEqual(["hello", "op", "op", "sync"]);
    expect(server.text).toBe("ab");
  });

  it("lets no hello leave before its attempt is kept, once there is something to keep", async () => {
    server.isDeaf = true;
    const { client } = await live();
    client.insert(0, "a");
    await rest();
    let openGate = () => {};
    browser.gate = new Promise((resolve) => {
      openGate = resolve;
    });
    server.last.drop();
    client.reconnect();
    await rest();
    expect([server.sockets.length, server.last.said]).toEqual([2, []]);
    expect(browser.kept(client.clientId)?.head.attempt).toBe(1);
    openGate();
    await until(() => server.last.said.length > 0);
    expect(browser.kept(client.clientId)?.head.attempt).toBe(2);
  });

  it("drops what waited for a connection that is gone", async () => {
    const { client } = await live();
    let openGate = () => {};
    browser.gate = new Promise((resolve) => {
      openGate = resolve;
    });
    client.insert(0, "a");
    const old = server.last;
    old.drop();
    client.reconnect();
    await rest();
    openGate();
    await until(() => client.unsaved === 0);
    expect(old.said.map(({ type }) => type)).toEqual(["hello"]);
    expect(server.last.said.map(({ type }) => type)).toEqual(["hello", "op"]);
  });

  it("writes nothing for a page that is only read", async () => {
    const { client } = await live();
    server.last.drop();
    client.reconnect();
    await until(() => client.status.state === "live");
    await rest();
    expect([browser.updates, browser.records.size]).toEqual([[], 0]);
  });

  it("writes of each keystroke its own operation once, and removes it once", async () => {
    const { client } = await live();
    for (let at = 0; at < 10; at++) {
      client.insert(at, "x");
      await until(() => client.unsaved === 0);
      await rest();
    }
    const parts = (part: keyof Update) => browser.updates.filter((update) => update[part] !== undefined).length;
    expect([parts("head"), parts("removeBelow"), parts("replaces")]).toEqual([1, 10, 0]);
    expect(browser.updates.flatMap(({ add = [] }) => add.map(({ number }) => number))).toEqual(
      Array.from({ length: 10 }, (_, index) => index + 1),
    );
    expect(browser.updates).toHaveLength(20);
  });

  it("writes ten thousand keystrokes without a connection once each", async () => {
    server.isUp = false;
    const { client } = open();
    for (let at = 0; at < 100; at++) {
      for (let key = 0; key < 100; key++) client.insert(client.length, "x");
      await rest(1);
    }
    await rest();
    expect(browser.updates.flatMap(({ add = [] }) => add)).toHaveLength(10_000);
    expect(browser.kept(client.clientId)?.operations).toHaveLength(10_000);
  });

  it("goes on without a store that fails, and says so once", async () => {
    const { client, told } = await live();
    browser.failure = new Error("quota exceeded");
    client.insert(0, "a");
    await until(() => client.unsaved === 0);
    client.insert(1, "b");
    await until(() => client.unsaved === 0);
    expect(server.text).toBe("ab");
    expect(only(told, "persistence")).toEqual([{ kept: false, reason: "quota exceeded" }]);
  });

  it("goes on without a store that never answers", async () => {
    const { client, told } = await live();
    browser.gate = new Promise(() => undefined);
    client.insert(0, "a");
    await rest();
    vi.advanceTimersByTime(10_000);
    await until(() => client.unsaved === 0);
    expect(only(told, "persistence")).toHaveLength(1);
    expect(browser.holders.has(client.clientId)).toBe(true);
  });

  it("removes on closing what holds nothing, and leaves what does", async () => {
    const done = await live();
    done.client.insert(0, "a");
    await until(() => done.client.unsaved === 0);
    await done.client.close();
    expect([browser.records.size, browser.holders.size]).toEqual([0, 0]);
    server.isDeaf = true;
    const { client } = await live();
    client.insert(0, "b");
    await client.close();
    expect(browser.kept(client.clientId)?.operations).toHaveLength(1);
    expect(browser.holders.size).toBe(0);
  });

  it("moves to a new record with a new identity, before anything leaves under it", async () => {
    const { client } = await live();
    server.isDeaf = true;
    client.insert(0, "a");
    await rest();
    const before = client.clientId;
    const account = server.accounts.get(before);
    if (account) account.isRetired = true;
    server.last.drop();
    client.reconnect();
    let openGate = () => {};
    browser.isGateForMoves = true;
    browser.gate = new Promise((resolve) => {
      openGate = resolve;
    });
    await eventually(() => client.clientId !== before);
    await rest();
    expect(server.last.said.map(({ type }) => type)).toEqual(["hello"]);
    expect([...browser.records.keys()]).toEqual([before]);
    server.isDeaf = false;
    openGate();
    await until(() => client.unsaved === 0);
    expect([...browser.records.keys()]).toEqual([client.clientId]);
    expect([...browser.holders.keys()]).toEqual([client.clientId]);
    expect(server.text).toBe("a");
  });

  it("removes the old record if the new identity cannot be kept", async () => {
    const { client } = await live();
    server.isDeaf = true;
    client.insert(0, "a");
    await rest();
    const before = client.clientId;
    const account = server.accounts.get(before);
    if (account) account.isRetired = true;
    browser.refusesNew = true;
    server.isDeaf = false;
    server.last.drop();
    client.reconnect();
    await eventually(() => client.unsaved === 0);
    expect(client.clientId).not.toBe(before);
    expect([server.text, browser.records.size]).toEqual(["a", 0]);
  });
});

describe("salvage", () => {
  it("sends what a reloaded page left, under its name and numbers, exactly once", async () => {
    const old = await orphan("one ", "two");
    const { client, told } = open();
    await until(() => server.text === "one two" && client.unsaved === 0);
    expect(server.log.map(({ origin, number }) => [origin, number])).toEqual([
      [old, 1],
      [old, 2],
    ]);
    expect(
      server
        .said("hello")
        .filter(({ client_id }) => client_id === old)
        .map(({ attempt }) => attempt),
    ).toEqual([1, 2]);
    await until(() => client.text === "one two");
    expect(client.clientId).not.toBe(old);
    await until(() => browser.records.size === 0);
    expect(only(told, "pending").map(({ unsaved }) => unsaved)).toEqual([2, 1, 0]);
    expect(only(told, "change").every(({ origin }) => origin === "remote")).toBe(true);
  });

  it("does not send again what the server had taken before the page ended", async () => {
    const made = await live();
    made.client.insert(0, "taken");
    // The page ends when the server has the text, and before the page knows.
    const { clientId } = made.client;
    const socket = server.last;
    const hear = server.hear.bind(server);
    server.hear = (from, message) => {
      if (from === socket) crash(made);
      const { isClosed } = socket;
      socket.isClosed = false;
      hear(from, message);
      socket.isClosed = isClosed;
    };
    await until(() => server.text === "taken");
    const { client } = await live();
    await until(() => browser.records.size === 0 && client.unsaved === 0);
    expect(server.said("hello").filter(({ client_id }) => client_id === clientId)).toHaveLength(2);
    expect([client.text, server.log.length]).toEqual(["taken", 1]);
  });

  it("takes over two orphans, one after the other", async () => {
    const first = await orphan("1");
    const second = await orphan("2");
    const { client } = open();
    await until(() => browser.records.size === 0);
    await until(() => client.unsaved === 0 && client.serverSeq === 2);
    expect(new Set(server.log.map(({ origin }) => origin))).toEqual(new Set([first, second]));
    expect([...client.text].sort().join("")).toBe("12");
  });

  it("leaves the record of a living page alone until its lock falls", async () => {
    server.isDeaf = true;
    const living = await live();
    living.client.insert(0, "unsaved");
    await rest();
    const { client } = await live();
    expect(browser.waiting.map((each) => each.client)).toEqual([living.client.clientId]);
    expect([client.unsaved, server.sockets.length]).toEqual([0, 2]);
    server.isDeaf = false;
    crash(living);
    await until(() => server.text === "unsaved" && client.unsaved === 0);
    await until(() => client.text === "unsaved" && browser.records.size === 0);
  });

  it("takes over what a page left that came later", async () => {
    const { client } = await live();
    await orphan("late ");
    client.reconnect();
    await until(() => client.text === "late ");
    await orphan("later ");
    for (const socket of server.sockets) if (!socket.isClosed) socket.drop();
    await eventually(() => client.text.length === "late later ".length);
  });

  it("gives every page an identity of its own", async () => {
    const [a, b] = [await live(), await live()];
    a.client.insert(0, "a");
    b.client.insert(0, "b");
    await until(() => a.client.unsaved + b.client.unsaved === 0);
    expect(a.client.clientId).not.toBe(b.client.clientId);
    expect([...browser.holders.keys()].sort()).toEqual([a.client.clientId, b.client.clientId].sort());
    expect(a.client.clientId.length).toBeGreaterThanOrEqual(16);
  });

  it("hands out a text that is refused", async () => {
    await orphan("bad");
    server.refusals.set("bad", "op_too_large");
    const { client, told } = open();
    await eventually(() => only(told, "refused").length > 0);
    expect(only(told, "refused")).toMatchObject([{ text: "bad", code: "op_too_large" }]);
    await eventually(() => client.unsaved === 0 && browser.records.size === 0);
    expect(server.text).toBe("");
  });

  it("keeps what it could not finish, for the next one", async () => {
    const old = await orphan("kept");
    server.isDeaf = true;
    const { client } = open();
    await until(() => client.unsaved === 1 && server.said("op").length === 2);
    await client.close();
    expect([...browser.records.keys()]).toEqual([old]);
    expect([browser.holders.size, browser.waiting.length]).toEqual([0, 0]);
    server.isDeaf = false;
    const next = open();
    await until(() => server.text === "kept" && next.client.unsaved === 0);
  });

  it("does not wait any more once the client is closed", async () => {
    server.isDeaf = true;
    const living = await live();
    living.client.insert(0, "unsaved");
    await rest();
    const { client } = await live();
    await client.close();
    crash(living);
    await rest();
    expect([server.sockets.length, browser.holders.size, browser.records.size]).toEqual([2, 0, 1]);
  });

  it("reports a record that it cannot understand, and leaves it", async () => {
    const damaged = await orphan("x");
    const newer = await orphan("y");
    const gap = await orphan("1", "2", "3");
    const record = (client: string) => {
      const found = browser.records.get(client);
      if (!found) throw new Error("no record");
      return found;
    };
    record(damaged).operations.set(1, JSON.stringify({ number: 1, op: { type: "ins", id: "?" } }));
    record(newer).head = record(newer).head.replace('"format":1', '"format":2');
    record(gap).operations.delete(2);
    const { client, told } = await live();
    client.reconnect();
    await until(() => only(told, "unreadable").length === 3);
    await rest();
    expect(new Set(only(told, "unreadable").map((each) => each.client))).toEqual(new Set([damaged, newer, gap]));
    expect(only(told, "unreadable").find((each) => each.client === newer)?.reason).toContain("format 2");
    expect([browser.records.size, client.unsaved, browser.holders.size]).toEqual([3, 0, 0]);
  });
});
