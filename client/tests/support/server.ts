/** A server of one document in memory, driven by microtasks: answers as docs/protocol.md says, or as it is told. */

import type { WebSocketEvent, WebSocketLike } from "../../src/connection.ts";
import type { Hello, OpMessage, Sync } from "../../src/message.ts";
import type { Op } from "../../src/op.ts";
import { countOf, Sequence } from "./sequence.ts";

const TERM = "0123456789abcdef0123456789abcdef";

type Said = Hello | OpMessage | Sync;

interface Entry {
  readonly origin: string;
  readonly number: number;
  readonly op: Op | { readonly type: "retire"; readonly client_id: string };
  readonly seq: number;
  readonly count: number;
}

interface Account {
  readonly secret: string;
  last: number;
  attempt: number;
  isRetired: boolean;
}

export class FakeSocket implements WebSocketLike {
  readonly said: Said[] = [];
  isOpen = false;
  isClosed = false;
  client = "";
  readonly #server: FakeServer;
  readonly #listeners = new Map<string, ((event: WebSocketEvent) => void)[]>();

  constructor(server: FakeServer) {
    this.#server = server;
  }

  addEventListener(type: string, listener: (event: WebSocketEvent) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  send(text: string): void {
    if (!this.isOpen) throw new Error("not open");
    const message = JSON.parse(text) as Said;
    this.said.push(message);
    queueMicrotask(() => this.#server.hear(this, message));
  }

  /** The client's side closes: the answer would come much later, and is left to the test. */
  close(): void {
    this.isClosed = true;
  }

  emit(type: string, event: WebSocketEvent = {}): void {
    for (const listener of this.#listeners.get(type) ?? []) listener(event);
  }

  say(message: object): void {
    this.emit("message", { data: JSON.stringify({ doc_id: this.#server.doc, ...message }) });
  }

  /** The server's side, or the network, ends it. */
  drop(code = 1006): void {
    this.isOpen = false;
    this.isClosed = true;
    this.emit("close", { code });
  }
}

export class FakeServer {
  readonly doc = "notes";
  readonly sockets: FakeSocket[] = [];
  readonly log: Entry[] = [];
  readonly sequence = new Sequence();
  readonly accounts = new Map<string, Account>();
  /** Whether connections can be opened. */
  isUp = true;
  /** Whether it says nothing, though connections stay open. */
  isSilent = false;
  /** Whether it takes operations without answering them. */
  isDeaf = false;
  /** Texts that are refused for good, with the code. */
  readonly refusals = new Map<string, string>();

  /** For `ClientOptions.webSocket`. */
  readonly open = (): FakeSocket => {
    const socket = new FakeSocket(this);
    this.sockets.push(socket);
    queueMicrotask(() => {
      if (socket.isClosed) return;
      socket.isOpen = this.isUp;
      if (this.isUp) socket.emit("open");
      else socket.drop();
    });
    return socket;
  };

  get text(): string {
    return this.sequence.text;
  }

  get head(): number {
    return this.log.at(-1)?.seq ?? 0;
  }

  /** Everything that was ever said to it, of one kind. */
  said<T extends Said["type"]>(type: T): Extract<Said, { type: T }>[] {
    return this.sockets.flatMap(({ said }) => said).filter((message) => message.type === type) as never;
  }

  /** The newest connection. */
  get last(): FakeSocket {
    const socket = this.sockets.at(-1);
    if (!socket) throw new Error("no connection");
    return socket;
  }

  hear(socket: FakeSocket, message: Said): void {
    if (this.isSilent || socket.isClosed) return;
    if (message.type === "hello") this.#join(socket, message);
    else if (message.type === "op") this.#take(socket, message);
    else socket.say({ type: "synced", nonce: message.nonce, server_seq: this.head });
  }

  /** An operation of somebody else, or of a client as if it had been accepted. */
  append(origin: string, number: number, op: Entry["op"], count: number): void {
    const entry = { origin, number, op, count, seq: this.head + count };
    if (op.type !== "retire") this.sequence.integrate(op);
    this.log.push(entry);
    for (const socket of this.sockets) if (socket.client !== "" && !socket.isClosed) this.#echo(socket, entry);
  }

  #join(socket: FakeSocket, hello: Hello): void {
    const { replaces } = hello;
    const account = this.#account(hello.client_id, hello.client_secret);
    const isStale = hello.attempt <= account.attempt;
    if (account.isRetired || isStale) {
      this.#refuse(socket, isStale ? "stale_attempt" : "client_retired", "rekey");
      return;
    }
    account.attempt = hello.attempt;
    for (const other of this.sockets) if (other !== socket && other.client === hello.client_id) other.drop(4001);
    const replaced = replaces && this.accounts.get(replaces.client_id);
    if (replaces && !replaced?.isRetired) {
      this.#account(replaces.client_id, replaces.client_secret).isRetired = true;
      this.append(hello.client_id, 0, { type: "retire", client_id: replaces.client_id }, 1);
    }
    const lastSeen = hello.last_seen_server_seq;
    const follows = hello.resync ? "resync" : lastSeen === this.head ? "nothing" : "replay";
    socket.say({
      type: "hello_ack",
      server_seq: this.head,
      protocol: 2,
      ...(this.head > 0 ? { term: TERM } : {}),
      epoch: 0,
      durability: "memory",
      last: account.last,
      ...(replaced ? { replaced_last: replaced.last } : {}),
      follows,
      features: [],
      limits: LIMITS,
    });
    socket.client = hello.client_id;
    if (follows === "resync") this.#resync(socket);
    else for (const entry of this.log) if (entry.seq > lastSeen) this.#echo(socket, entry);
  }

  #resync(socket: FakeSocket): void {
    const replicas: string[] = [];
    const runs = this.sequence.runs(replicas);
    const term = this.head > 0 ? { term: TERM } : {};
    const state = { replicas, runs, waiting: [] };
    socket.say({ type: "resync", server_seq: this.head, ...term, part: 1, parts: 1, state });
  }

  #take(socket: FakeSocket, { client_id, client_msg_id: number, op }: OpMessage): void {
    if (this.isDeaf) return;
    const account = this.#account(client_id, "");
    const known = this.log.find((entry) => entry.origin === client_id && entry.number === number);
    if (known) {
      socket.say({ type: "ack", client_msg_id: number, server_seq: known.seq, count: known.count });
      return;
    }
    const [, code] = [...this.refusals].find(([text]) => JSON.stringify(op).includes(`"${text}"`)) ?? [];
    if (number !== account.last + 1) this.#refuse(socket, "number_gap", "rekey", number);
    else if (code) this.#refuse(socket, code, "never", number);
    else {
      account.last = number;
      this.append(client_id, number, op, countOf(op));
    }
  }

  #echo(socket: FakeSocket, { origin, number, op, seq, count }: Entry): void {
    const term = seq === count ? { term: TERM } : {};
    socket.say({
      type: "op_echo",
      server_seq: seq,
      origin_client_id: origin,
      client_msg_id: number,
      op,
      count,
      ...term,
    });
  }

  #refuse(socket: FakeSocket, code: string, retry: string, number?: number): void {
    const about = number === undefined ? {} : { client_msg_id: number };
    socket.say({ type: "error", code, retry, message: "no", ...about });
    socket.drop(1008);
  }

  #account(client: string, secret: string): Account {
    const account = this.accounts.get(client) ?? { secret, last: 0, attempt: 0, isRetired: false };
    this.accounts.set(client, account);
    return account;
  }
}

const LIMITS = {
  message_bytes_max: 1_048_576,
  name_bytes_max: 128,
  op_count_max: 200_000,
  batch_edits_max: 10_000,
  inflight_max: 256,
  lamport_jump_max: 1_048_576,
  document_elements_max: 20_000_000,
  waiting_per_client_max: 256,
  waiting_per_document_max: 4096,
  v1_window_max: 4096,
  v1_expand_max: 1000,
  v1_replay_max: 500,
  replay_max: 10_000,
  terms_max: 1024,
  ring_entries_max: 8192,
  ring_bytes_max: 4_194_304,
  answers_max: 512,
};
