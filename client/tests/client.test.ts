import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Client } from "../src/index.ts";
import { apply, clientOf, only } from "./support/client.ts";
import { FakeServer } from "./support/server.ts";
import { rest, until } from "./support/turns.ts";

/** Somebody else's operation: text at the beginning. */
function greeting(lamport: number, value: string) {
  return { type: "ins", parent_id: [0, "root"], id: [lamport, "somebody-else-01"], value } as const;
}

const clients: Client[] = [];
let server: FakeServer;

function connect(options?: Parameters<typeof clientOf>[1]) {
  const made = clientOf(server, options);
  clients.push(made.client);
  return made;
}

async function live(options?: Parameters<typeof clientOf>[1]) {
  const made = connect(options);
  await until(() => made.client.status.state === "live");
  return made;
}

beforeEach(() => {
  server = new FakeServer();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  vi.useRealTimers();
});

describe("editing", () => {
  it("shows an edit at once and counts it as unsaved until it is acknowledged", async () => {
    const { client, told } = connect();
    expect(client.durability).toBe(undefined);
    await until(() => client.status.state === "live");
    expect(client.durability).toBe("memory");
    client.insert(0, "hello");
    expect(client.text).toBe("hello");
    expect(client.unsaved).toBe(1);
    await until(() => client.unsaved === 0);
    expect(server.text).toBe("hello");
    expect(client.serverSeq).toBe(5);
    expect(only(told, "change")).toEqual([{ deltas: [{ type: "insert", at: 0, text: "hello" }], origin: "local" }]);
    expect(only(told, "pending")).toEqual([{ unsaved: 1 }, { unsaved: 0 }]);
    expect(only(told, "status")).toEqual([{ state: "connecting" }, { state: "live" }]);
  });

  it("tells of other people's edits as remote changes that give the text", async () => {
    const { client, told } = await live();
    client.insert(0, "b");
    await until(() => client.unsaved === 0);
    server.append("somebody-else-01", 1, greeting(9, "a"), 1);
    expect(client.text).toBe("ab");
    expect(only(told, "change").map(({ origin }) => origin)).toEqual(["local", "remote"]);
    expect(
      apply(
        "",
        only(told, "change").flatMap(({ deltas }) => deltas),
      ),
    ).toBe("ab");
  });

  it("tells the difference when a resync replaces the text", async () => {
    const { client, told } = await live();
    client.insert(0, "mine");
    await until(() => client.unsaved === 0);
    server.last.say({ type: "nonsense" });
    server.append("somebody-else-01", 1, greeting(20, "theirs "), 7);
    vi.advanceTimersByTime(250);
    await until(() => client.status.state === "live");
    expect(server.said("hello").at(-1)?.resync).toBe(true);
    expect(client.text).toBe("theirs mine");
    expect(
      apply(
        "",
        only(told, "change").flatMap(({ deltas }) => deltas),
      ),
    ).toBe("theirs mine");
    expect(only(told, "change").at(-1)?.origin).toBe("remote");
  });

  it("refuses positions that are none, and changes nothing", async () => {
    const { client } = connect();
    client.insert(0, "a\u{1f600}b");
    for (const at of [-1, 0.5, Number.NaN, 2, 5]) expect(() => client.insert(at, "x")).toThrow(RangeError);
    for (const [at, len] of [
      [0, 5],
      [4, 1],
      [0, -1],
      [0, 1.5],
    ] as const) {
      expect(() => client.delete(at, len)).toThrow(RangeError);
    }
    expect(client.text).toBe("a\u{1f600}b");
    expect(client.length).toBe(4);
  });

  it("takes lone surrogates for U+FFFD, and nothing for no edit", () => {
    const { client } = connect();
    client.insert(0, "a\ud83d");
    client.insert(1, "");
    client.delete(1, 0);
    expect(client.text).toBe("a\u{fffd}");
    expect(client.unsaved).toBe(1);
  });

  it("hands a refused text to the application and goes on", async () => {
    server.refusals.set("bad", "op_too_large");
    const { client, told } = await live();
    client.insert(0, "bad");
    client.insert(3, "good");
    vi.advanceTimersByTime(250);
    await rest();
    vi.advanceTimersByTime(250);
    await until(() => client.unsaved === 0);
    expect(only(told, "refused")).toMatchObject([{ text: "bad", code: "op_too_large", op: { type: "ins" } }]);
    expect([client.text, server.text]).toEqual(["good", "good"]);
  });
});

describe("connections", () => {
  it("comes back after a wait that grows, and sends again what is unanswered", async () => {
    server.isUp = false;
    const { client } = connect();
    client.insert(0, "offline");
    await until(() => client.status.state === "offline");
    // Waits are random: between half of 250 and 250 ms, then twice as long.
    vi.advanceTimersByTime(124);
    expect(server.sockets).toHaveLength(1);
    vi.advanceTimersByTime(126);
    expect(server.sockets).toHaveLength(2);
    await until(() => client.status.state === "offline");
    vi.advanceTimersByTime(249);
    expect(server.sockets).toHaveLength(2);
    server.isUp = true;
    vi.advanceTimersByTime(251);
    await until(() => client.unsaved === 0);
    expect(server.text).toBe("offline");
  });

  it("comes back at once when asked to", async () => {
    const { client } = await live();
    server.last.drop();
    expect(client.status.state).toBe("offline");
    client.reconnect();
    await until(() => client.status.state === "live");
    vi.advanceTimersByTime(10_000);
    expect(server.sockets).toHaveLength(2);
  });

  it("comes back when the network is back or the page is looked at", async () => {
    const page = new EventTarget();
    const listen = page.addEventListener.bind(page);
    const view = Object.assign(new EventTarget(), { visibilityState: "visible" });
    vi.stubGlobal("addEventListener", listen);
    vi.stubGlobal("document", view);
    const { client } = await live();
    server.last.drop();
    page.dispatchEvent(new Event("online"));
    await until(() => client.status.state === "live");
    server.last.drop();
    view.visibilityState = "hidden";
    view.dispatchEvent(new Event("visibilitychange"));
    expect(client.status.state).toBe("offline");
    view.visibilityState = "visible";
    view.dispatchEvent(new Event("visibilitychange"));
    await until(() => client.status.state === "live");
    page.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true }));
    expect([client.status.state, server.last.isClosed]).toEqual(["offline", true]);
    page.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    await until(() => client.status.state === "live");
    page.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
    expect([client.status.state, server.last.isClosed]).toEqual(["ended", true]);
    vi.unstubAllGlobals();
  });

  it("does not listen to a connection that it has left", async () => {
    const { client, told } = await live();
    const old = server.last;
    old.emit("message", { data: new ArrayBuffer(1) });
    expect([client.status.state, old.isClosed]).toEqual(["offline", true]);
    client.reconnect();
    await until(() => client.status.state === "live");
    const before = told.length;
    old.say({
      type: "op_echo",
      server_seq: 1,
      origin_client_id: "x",
      client_msg_id: 1,
      op: greeting(1, "x"),
      count: 1,
    });
    old.emit("message", { data: "no message" });
    old.emit("open");
    old.emit("close", { code: 4001 });
    old.emit("error");
    await rest();
    expect(told.slice(before)).toEqual([]);
    expect([client.status.state, client.text, server.said("hello").length]).toEqual(["live", "", 2]);
  });

  it("gives up a connection on which a heartbeat is not answered, and one that does not join", async () => {
    const { client } = await live({ heartbeatMs: 1000 });
    vi.advanceTimersByTime(1000);
    await until(() => server.said("sync").length === 1);
    // Answered: the silence begins anew.
    await rest();
    vi.advanceTimersByTime(1000);
    await until(() => server.said("sync").length === 2);
    await rest();
    server.isSilent = true;
    vi.advanceTimersByTime(1999);
    expect(client.status.state).toBe("live");
    vi.advanceTimersByTime(1);
    expect([client.status.state, server.last.isClosed]).toEqual(["offline", true]);
    vi.advanceTimersByTime(250);
    await until(() => server.said("hello").length === 2);
    vi.advanceTimersByTime(2000);
    expect(client.status.state).toBe("offline");
  });

  it("treats a socket that cannot be made as a connection that failed", async () => {
    let isForbidden = true;
    const webSocket = () => {
      if (isForbidden) throw new Error("forbidden");
      return server.open();
    };
    const { client } = connect({ webSocket });
    expect(client.status.state).toBe("offline");
    isForbidden = false;
    vi.advanceTimersByTime(250);
    await until(() => client.status.state === "live");
  });

  it("ends when a newer instance took over", async () => {
    const { client } = await live();
    const saved = client.saved();
    server.isSilent = true;
    client.insert(0, "x");
    const late = client.saved();
    server.last.drop(4001);
    expect(client.status).toEqual({ state: "ended", reason: "taken_over" });
    await expect(saved).resolves.toBeUndefined();
    await expect(late).rejects.toThrow("taken_over");
    await expect(client.saved()).rejects.toThrow("taken_over");
  });
});

describe("telling", () => {
  it("lets a listener edit, in the order in which things happened", async () => {
    const { client } = await live();
    const seen: string[] = [];
    client.on("change", ({ deltas, origin }) => {
      const inserted = deltas.map((delta) => (delta.type === "insert" ? delta.text : "")).join("");
      if (inserted === "a") client.insert(client.length, "b");
      seen.push(`${origin} ${inserted} of ${client.text}`);
    });
    client.on("pending", ({ unsaved }) => seen.push(`${unsaved} unsaved`));
    client.insert(0, "a");
    expect(seen).toEqual(["local a of ab", "1 unsaved", "local b of ab", "2 unsaved"]);
    await until(() => client.unsaved === 0);
    expect(server.text).toBe("ab");
  });

  it("is not harmed by a listener that throws, and reports it", async () => {
    const reported: unknown[] = [];
    vi.stubGlobal("reportError", (error: unknown) => reported.push(error));
    const { client, told } = await live();
    const off = client.on("change", () => {
      throw new Error("of the application");
    });
    client.on("change", (event) => told.push(["change", event]));
    client.insert(0, "a");
    expect(only(told, "change")).toHaveLength(2);
    expect(reported).toEqual([new Error("of the application")]);
    off();
    client.insert(1, "b");
    expect(reported).toHaveLength(1);
    await client.saved();
    vi.unstubAllGlobals();
  });

  it("lets a listener close", async () => {
    const { client } = await live();
    let ends = 0;
    client.on("status", ({ state }) => {
      if (state === "ended") ends++;
    });
    client.on("pending", () => void client.close());
    client.insert(0, "a");
    await client.close();
    expect(ends).toBe(1);
  });

  it("shows every frame", async () => {
    const frames: string[] = [];
    const { client } = connect();
    client.on("message", ({ direction, text }) => frames.push(`${direction} ${JSON.parse(text).type}`));
    await until(() => client.status.state === "live");
    client.insert(0, "a");
    await client.saved();
    expect(frames).toEqual(["out hello", "in hello_ack", "out op", "out sync", "in op_echo", "in synced"]);
  });
});

describe("ending", () => {
  it("says when everything is saved", async () => {
    const { client } = connect();
    let isSaved = false;
    const saved = client.saved().then(() => {
      isSaved = true;
    });
    expect(isSaved).toBe(false);
    await saved;
    server.isSilent = true;
    client.insert(0, "a");
    const later = client.saved();
    await rest();
    expect(client.unsaved).toBe(1);
    server.isSilent = false;
    server.last.drop();
    client.reconnect();
    await later;
    expect([client.unsaved, server.text]).toEqual([0, "a"]);
  });

  it("closes for good", async () => {
    const { client } = await live();
    server.isSilent = true;
    client.insert(0, "a");
    const saved = client.saved();
    const socket = server.last;
    const closed = client.close();
    expect(client.status).toEqual({ state: "ended", reason: "closed" });
    await closed;
    await expect(saved).rejects.toThrow("closed");
    await expect(client.saved()).rejects.toThrow("closed");
    expect(() => client.insert(0, "b")).toThrow("closed");
    expect([client.text, client.unsaved, socket.isClosed]).toEqual(["a", 1, true]);
    client.reconnect();
    vi.advanceTimersByTime(60_000);
    expect(server.sockets).toHaveLength(1);
  });

  it("takes an address as pages have it", () => {
    const addresses: string[] = [];
    const webSocket = (url: string) => {
      addresses.push(url);
      return server.open();
    };
    for (const url of ["https://example.org/ws#top", new URL("http://example.org:8000/ws"), "wss://example.org/ws"]) {
      connect({ url, webSocket });
    }
    expect(addresses).toEqual(["wss://example.org/ws", "ws://example.org:8000/ws", "wss://example.org/ws"]);
    expect(() => connect({ url: "ftp://example.org/ws" })).toThrow(TypeError);
    expect(() => connect({ url: "/ws" })).toThrow(TypeError);
  });
});
