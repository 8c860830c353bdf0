/** The client of one document: what an application uses. */

import type { WebSocketLike } from "./connection.ts";
import { Driver, type Surroundings } from "./driver.ts";
import { Emitter } from "./events.ts";
import { Journal } from "./journal.ts";
import type { Delta, Status } from "./machine.ts";
import type { Durability } from "./message.ts";
import type { Op } from "./op.ts";
import { watchPage } from "./page.ts";
import { freshIdentity } from "./random.ts";
import { Replica } from "./replica/index.ts";
import { Salvage } from "./salvage.ts";
import type { Store } from "./store.ts";

const HEARTBEAT_MS = 20_000;

/** What a client is made of. */
export interface ClientOptions {
  /** The address of the server's `/ws`: `ws:` or `wss:`; `http:` and `https:` are taken for them. */
  readonly url: string | URL;
  /** The document: 1 to 128 of `A-Z a-z 0-9 . _ ~ : @ -`. */
  readonly doc: string;
  /** Keeps unsaved edits over a reload; see `openStore`. Without one they end with the program. */
  readonly store?: Store | undefined;
  /** Opens a WebSocket; the global one unless given. */
  readonly webSocket?: (url: string) => WebSocketLike;
  /**
   * After so many milliseconds without a word from the server it is asked for one; after as many again the connection
   * is given up and a new one opened. 20,000 unless given.
   */
  readonly heartbeatMs?: number;
}

/** What a client tells. */
export interface ClientEvents {
  /** The text changed. Deltas apply one after the other; positions and lengths in UTF-16 units. */
  change: { readonly deltas: readonly Delta[]; readonly origin: "local" | "remote" };
  /** The connection's state changed. */
  status: Status;
  /** The number of unsaved operations changed, those that earlier page loads left behind included. */
  pending: { readonly unsaved: number };
  /** The server refused an operation for good. `text` is what it would have inserted: show it to whoever typed it. */
  refused: { readonly text: string; readonly op: Op; readonly code: string };
  /** Unsaved edits are not kept over a reload from now on: the store failed. Told once. */
  persistence: { readonly kept: false; readonly reason: string };
  /** A record of an earlier page load cannot be understood, or is a newer program's. It is left alone. */
  unreadable: { readonly client: string; readonly reason: string };
  /** A text frame came or went. */
  message: { readonly direction: "in" | "out"; readonly text: string };
}

/** Whoever waits for `saved`. */
interface Barrier {
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * A document that several people edit at once. Edits show here at once, and reach the server exactly once however often
 * the connection breaks.
 *
 * Events are delivered when the step that caused them is complete, in order; the text may be ahead of them by events
 * that are still to come. A listener may call anything of the client.
 */
export class Client {
  /** The document. */
  readonly doc: string;
  readonly #emitter = new Emitter<ClientEvents>();
  readonly #driver: Driver;
  readonly #salvage: Salvage | undefined;
  readonly #barriers = new Map<number, Barrier>();
  readonly #unwatch: () => void;
  #unsaved = 0;
  #isKept = true;
  #isClosed = false;
  #closing: Promise<void> | undefined;
  /** Whether events wait. */
  #isQuiet = true;

  /** Connects. Throws TypeError if `url` is not an address, Error if there is no WebSocket. */
  constructor({ url, doc, store, webSocket = openWebSocket(), heartbeatMs = HEARTBEAT_MS }: ClientOptions) {
    this.doc = doc;
    const surroundings: Surroundings = { url: addressOf(url), webSocket, heartbeatMs };
    const failed = (error: unknown) => this.#onStoreFailure(error);
    const shared = {
      refused: (op: Op, code: string) => this.#emitter.post("refused", { text: textOf(op), op, code }),
      message: (direction: "in" | "out", text: string) => this.#emitter.post("message", { direction, text }),
      stepped: () => this.#stepped(),
    };
    const unreadable = (client: string, error: unknown) =>
      this.#emitter.post("unreadable", { client, reason: reasonOf(error) });
    const replica = new Replica(doc, freshIdentity());
    const journal = new Journal(replica, store, (error) => {
      failed(error);
      this.#stepped();
    });
    this.#salvage = store && new Salvage(doc, store, surroundings, { ...shared, unreadable, failed });
    this.#driver = new Driver(replica, journal, surroundings, {
      ...shared,
      changed: (deltas, isLocal) => this.#emitter.post("change", { deltas, origin: isLocal ? "local" : "remote" }),
      status: (status) => this.#onStatus(status),
      synced: (nonce) => this.#onSynced(nonce),
    });
    this.#unwatch = watchPage({
      woken: () => this.reconnect(),
      frozen: () => {
        this.#driver.disconnect();
        this.#salvage?.disconnect();
      },
      gone: () => void this.close(),
    });
    // Its first events are told in a moment, to listeners that are added until then.
    this.#driver.start();
    this.#salvage?.look(this.clientId);
    queueMicrotask(() => {
      this.#isQuiet = false;
      this.#emitter.flush();
    });
  }

  /** Adds a listener; answers what removes it. An error that it throws is reported, and harms nobody else. */
  on<K extends keyof ClientEvents>(type: K, listener: (event: ClientEvents[K]) => void): () => void {
    return this.#emitter.on(type, listener);
  }

  /** The text as it shows here: unsaved edits included. */
  get text(): string {
    return this.#driver.replica.document.text;
  }

  /** The length of the text in UTF-16 units. */
  get length(): number {
    return this.#driver.replica.document.length;
  }

  /** The state of the connection. */
  get status(): Status {
    return this.#isClosed ? { state: "ended", reason: "closed" } : this.#driver.replica.status;
  }

  /** The last number of the server's order that is in the text. */
  get serverSeq(): number {
    return this.#driver.replica.lastSeen;
  }

  /** Operations that are not known to be durable, those that earlier page loads left behind included. */
  get unsaved(): number {
    return this.#driver.replica.unacknowledgedCount + (this.#salvage?.unsaved ?? 0);
  }

  /** Where the server it last joined keeps what is saved: on its disk, or in memory until it stops. */
  get durability(): Durability | undefined {
    return this.#driver.replica.durability;
  }

  /** Who this client is in the document. Random; changes when the client has to become a new instance. */
  get clientId(): string {
    return this.#driver.replica.identity.client;
  }

  /**
   * Inserts text at a position in UTF-16 units. Lone surrogates become U+FFFD.
   *
   * Throws RangeError if `at` is not a position: beyond the text, or inside a surrogate pair. Throws Error if the
   * client was closed.
   */
  insert(at: number, text: string): void {
    this.#edit(at, text.length, { type: "insert", at, text: text.replace(/\p{Surrogate}/gu, "\u{fffd}") });
  }

  /**
   * Deletes `len` UTF-16 units from a position on.
   *
   * Throws RangeError if the range is not inside the text or cuts a surrogate pair, Error if the client was closed.
   */
  delete(at: number, len: number): void {
    this.#edit(at, len, { type: "delete", at, len });
  }

  /**
   * Resolves when everything typed into this client so far is answered by the server: durable, or refused and told.
   * Rejects if the client has ended or is closed before that.
   */
  saved(): Promise<void> {
    const { status } = this;
    if (status.state === "ended") return Promise.reject(endOf(status));
    if (status.state === "live" && this.#driver.replica.unacknowledgedCount === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#barriers.set(this.#driver.sync(), { resolve, reject });
    });
  }

  /** Comes back now instead of after the wait, if the connection is gone. */
  reconnect(): void {
    if (this.#isClosed) return;
    this.#driver.reconnect();
    this.#salvage?.reconnect();
    this.#salvage?.look(this.clientId);
  }

  /**
   * Ends the client. What is unsaved stays in the store, for the next page load of the document or another tab.
   * Resolves when that is so.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    this.#unwatch();
    const stopped = Promise.all([this.#driver.stop(), this.#salvage?.close()]);
    // Told behind this call, so that a listener that closes once more waits for the same end.
    await undefined;
    this.#onStatus({ state: "ended", reason: "closed" });
    this.#stepped();
    await stopped;
  }

  #edit(at: number, len: number, input: Parameters<Driver["edit"]>[0]): void {
    if (this.#isClosed) throw new Error("the client was closed");
    const isRange = Number.isSafeInteger(at) && Number.isSafeInteger(len) && at >= 0 && at <= this.length && len >= 0;
    if (isRange && (len === 0 || this.#driver.edit(input))) return;
    throw new RangeError(`${at} + ${len} is not a range of a text of ${this.length}`);
  }

  #onStatus(status: Status): void {
    this.#emitter.post("status", status);
    if (status.state === "live") this.#salvage?.look(this.clientId);
    if (status.state !== "ended") return;
    for (const barrier of this.#barriers.values()) barrier.reject(endOf(status));
    this.#barriers.clear();
  }

  #onSynced(nonce: number): void {
    // Of a heartbeat if nobody waits for it.
    this.#barriers.get(nonce)?.resolve();
    this.#barriers.delete(nonce);
  }

  #onStoreFailure(error: unknown): void {
    if (!this.#isKept) return;
    this.#isKept = false;
    this.#emitter.post("persistence", { kept: false, reason: reasonOf(error) });
  }

  #stepped(): void {
    const { unsaved } = this;
    if (unsaved !== this.#unsaved) {
      this.#unsaved = unsaved;
      this.#emitter.post("pending", { unsaved });
    }
    if (!this.#isQuiet) this.#emitter.flush();
  }
}

function addressOf(url: string | URL): string {
  const address = new URL(url, globalThis.location?.href);
  address.hash = "";
  if (address.protocol === "http:") address.protocol = "ws:";
  if (address.protocol === "https:") address.protocol = "wss:";
  if (!/^wss?:$/.test(address.protocol)) throw new TypeError(`${address.href} is no WebSocket's address`);
  return address.href;
}

function openWebSocket(): (url: string) => WebSocketLike {
  if (typeof WebSocket !== "function") throw new Error("there is no WebSocket here: pass one as `webSocket`");
  return (url) => new WebSocket(url);
}

/** What an operation inserts. */
function textOf(op: Op): string {
  const edits = op.type === "batch" ? op.ops : [op];
  return edits.map((edit) => (edit.type === "ins" ? edit.value : "")).join("");
}

function endOf(status: Status & { state: "ended" }): Error {
  return new Error(`the client has ended: ${status.reason}`);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
