/**
 * Drives one replica: whatever happens becomes an input, and its outputs are carried out in order.
 *
 * It decides nothing about the protocol. What is its own is time (timers, the heartbeat), randomness, the socket, and
 * that nothing leaves before the store keeps what it rests on.
 */

import { decodeServer, encodeClient } from "./codec/index.ts";
import { Connection, type WebSocketLike } from "./connection.ts";
import { diff } from "./diff.ts";
import type { Journal } from "./journal.ts";
import type { Delta, Input, Output, ReplicaEvent, Status } from "./machine.ts";
import type { Op } from "./op.ts";
import { freshIdentity, jitter } from "./random.ts";
import type { Replica } from "./replica/index.ts";

/** What a driver needs of its surroundings. */
export interface Surroundings {
  readonly url: string;
  readonly webSocket: (url: string) => WebSocketLike;
  /** After so long without a word from the server it is asked for one; after as long again it is given up. */
  readonly heartbeatMs: number;
}

/** Whom a driver tells, before the step that caused it is over: nothing may call back into the driver. */
export interface DriverListener {
  changed?(deltas: readonly Delta[], isLocal: boolean): void;
  status?(status: Status): void;
  refused(op: Op, code: string): void;
  synced?(nonce: number): void;
  message(direction: "in" | "out", text: string): void;
  /** The outputs of a step were carried out, or a frame left. */
  stepped(): void;
}

/** The largest wait that `setTimeout` takes for what it is, in milliseconds. */
const TIMEOUT_MAX_MS = 2 ** 31 - 1;

/** One replica at work. */
export class Driver {
  readonly replica: Replica;
  readonly #surroundings: Surroundings;
  readonly #journal: Journal;
  readonly #listener: DriverListener;
  readonly #inputs: Input[] = [];
  #isStepping = false;
  #isStopped = false;
  #connection: Connection | undefined;
  /** The wait before coming back. */
  #wait: { readonly timer: number; readonly handle: ReturnType<typeof setTimeout> } | undefined;
  #heartbeat: ReturnType<typeof setTimeout> | undefined;
  #isProbing = false;
  #nextNonce = 1;

  constructor(replica: Replica, journal: Journal, surroundings: Surroundings, listener: DriverListener) {
    this.replica = replica;
    this.#journal = journal;
    this.#surroundings = surroundings;
    this.#listener = listener;
  }

  /** Connects. */
  start(): void {
    this.#step({ type: "start" });
  }

  /** Makes an edit; answers whether it could be made. */
  edit(input: Extract<Input, { type: "insert" | "delete" }>): boolean {
    return this.#step(input);
  }

  /** Asks for a barrier; answers the nonce that `synced` will name. */
  sync(): number {
    const nonce = this.#nextNonce++;
    this.#step({ type: "sync", nonce });
    return nonce;
  }

  /** Comes back now, if it is waiting to. */
  reconnect(): void {
    const wait = this.#wait;
    if (!wait) return;
    this.#clearWait();
    this.#step({ type: "timer_fired", timer: wait.timer });
  }

  /** Gives the connection up, as if it had broken. */
  disconnect(): void {
    if (!this.#connection) return;
    this.#leave();
    this.#step({ type: "closed", code: undefined, jitter: jitter() });
  }

  /** Ends it. What is pending stays in the record. */
  stop(): Promise<void> {
    this.#isStopped = true;
    this.#leave();
    this.#clearWait();
    return this.#journal.close();
  }

  /** Answers whether no local edit was invalid. */
  #step(first: Input): boolean {
    if (this.#isStopped) return true;
    this.#inputs.push(first);
    if (this.#isStepping) return true;
    this.#isStepping = true;
    let isValid = true;
    for (let input = this.#inputs.shift(); input; input = this.#inputs.shift()) {
      const before = this.replica.document;
      const isLocal = input.type === "insert" || input.type === "delete";
      const outputs = this.replica.step(input);
      // Before the outputs are carried out: whatever is sent waits for this.
      this.#journal.note(input.type === "opened");
      for (const output of outputs) {
        if (output.type !== "event") this.#carryOut(output);
        else if (output.event.type === "invalid_edit") isValid = false;
        else this.#tell(output.event, before, isLocal);
      }
    }
    if (this.replica.status.state === "ended") this.#leave();
    this.#isStepping = false;
    this.#listener.stepped();
    return isValid;
  }

  #carryOut(output: Exclude<Output, { type: "event" }>): void {
    switch (output.type) {
      case "connect":
        this.#connect();
        break;
      case "send": {
        const connection = this.#connection;
        const text = encodeClient(output.message);
        this.#journal.whenKept(() => this.#send(connection, text));
        break;
      }
      case "disconnect":
        this.#leave();
        // At once: on a dead network the socket takes a minute to close.
        this.#inputs.push({ type: "closed", code: undefined, jitter: jitter() });
        break;
      case "set_timer": {
        this.#clearWait();
        const handle = setTimeout(() => this.reconnect(), Math.min(output.after_ms, TIMEOUT_MAX_MS));
        this.#wait = { timer: output.timer, handle };
        break;
      }
    }
  }

  #tell(event: Exclude<ReplicaEvent, { type: "invalid_edit" }>, before: Replica["document"], isLocal: boolean): void {
    const listener = this.#listener;
    switch (event.type) {
      case "changed":
        listener.changed?.(event.deltas, isLocal);
        break;
      case "replaced": {
        const deltas = listener.changed ? diff(before, this.replica.document) : [];
        if (deltas.length > 0) listener.changed?.(deltas, false);
        break;
      }
      case "status":
        listener.status?.(event.status);
        break;
      case "refused":
        listener.refused(event.op, event.code);
        break;
      case "synced":
        listener.synced?.(event.nonce);
        break;
      case "acknowledged":
        break;
    }
  }

  #connect(): void {
    this.#leave();
    const { url, webSocket } = this.#surroundings;
    try {
      this.#connection = new Connection(() => webSocket(url), {
        opened: () => {
          this.#heard();
          this.#step({ type: "opened", fresh: freshIdentity() });
        },
        received: (text) => this.#received(text),
        lost: (code) => {
          this.#leave();
          this.#step({ type: "closed", code, jitter: jitter() });
        },
      });
      this.#heard();
    } catch {
      // Refused by the browser, such as by a content security policy: the same as a connection that fails.
      this.#inputs.push({ type: "closed", code: undefined, jitter: jitter() });
    }
  }

  #received(text: string | undefined): void {
    this.#heard();
    if (text !== undefined) this.#listener.message("in", text);
    const message = text === undefined ? undefined : decodeServer(text);
    this.#step(message ? { type: "message", message } : { type: "malformed" });
  }

  #send(connection: Connection | undefined, text: string): void {
    if (!connection || connection.isOver) return;
    connection.send(text);
    this.#listener.message("out", text);
    // A frame that had to wait leaves outside of any step.
    if (!this.#isStepping) this.#listener.stepped();
  }

  #leave(): void {
    clearTimeout(this.#heartbeat);
    this.#connection?.leave();
    this.#connection = undefined;
  }

  #clearWait(): void {
    clearTimeout(this.#wait?.handle);
    this.#wait = undefined;
  }

  /** Something came from the server: the silence begins anew. */
  #heard(): void {
    this.#isProbing = false;
    clearTimeout(this.#heartbeat);
    this.#heartbeat = setTimeout(() => this.#onSilence(), this.#surroundings.heartbeatMs);
  }

  #onSilence(): void {
    if (this.#isProbing) {
      this.disconnect();
      return;
    }
    this.#isProbing = true;
    this.#heartbeat = setTimeout(() => this.#onSilence(), this.#surroundings.heartbeatMs);
    // A connection that has not joined yet owes an answer anyway.
    if (this.replica.status.state === "live") this.sync();
  }
}
