/** A replica named A of the document "d", and what it said; and messages written by hand. */

import { expect } from "vitest";
import { Document } from "../../src/document.ts";
import { opCount } from "../../src/edit.ts";
import type { Identity, Input, Output, Saved } from "../../src/machine.ts";
import type { ClientMessage, Hello, Limits, Retry, ServerMessage } from "../../src/message.ts";
import type { ElementId, Insert, Op } from "../../src/op.ts";
import { Replica } from "../../src/replica/index.ts";
import { checkDocument } from "./check.ts";

export const ROOT: ElementId = [0, "root"];
export const TERM = "00000000000000000000000000000001";

export function identity(name: string): Identity {
  return { client: name, secret: `secret of ${name}` };
}

export function ins(parent_id: ElementId, id: ElementId, value: string): Insert {
  return { type: "ins", parent_id, id, value };
}

export function del(id: ElementId, len = 1): Op {
  return len === 1 ? { type: "del", id } : { type: "del", id, len };
}

/** "hi" by X, which a live rig has integrated. */
export const HI = ins(ROOT, [1, "X"], "hi");

export class Rig {
  out: Output[] = [];
  replica: Replica;
  private opened = 0;

  constructor(replica = new Replica("d", identity("A"))) {
    this.replica = replica;
    this.step({ type: "start" });
  }

  /** A live replica that has integrated "hi" by X, numbers 1 and 2. */
  static live(inflight_max = 256): Rig {
    const rig = new Rig();
    rig.open();
    rig.say(greeting(0, 0, "nothing", { limits: { inflight_max } }));
    rig.say(echo(2, "X", 1, HI));
    expect([rig.replica.status.state, rig.text]).toEqual(["live", "hi"]);
    return rig;
  }

  /** The same with two messages sent: "a" as 1 and "b" as 2. */
  static twoSent(): Rig {
    const rig = Rig.live();
    rig.insert(2, "a");
    rig.insert(3, "b");
    return rig;
  }

  step(input: Input): void {
    this.out = this.replica.step(input);
    checkDocument(this.replica.document);
    const numbers = this.replica.pending.map(({ number }) => number);
    const first = this.replica.nextNumber - numbers.length;
    expect(numbers).toEqual(numbers.map((_, index) => first + index));
    const saved: Saved = JSON.parse(JSON.stringify(this.replica.saved()));
    expect(Replica.restore("d", saved).saved()).toEqual(saved);
  }

  /** A connection opens. The fresh identities are B1, B2 … */
  open(): void {
    this.step({ type: "timer_fired", timer: this.replica.saved().attempt });
    this.opened += 1;
    this.step({ type: "opened", fresh: identity(`B${this.opened}`) });
  }

  close(code?: number): void {
    this.step({ type: "closed", code, jitter: 0 });
  }

  /** The connection ends and the next one opens. */
  reopen(): void {
    this.close();
    this.open();
  }

  say(message: ServerMessage): void {
    this.step({ type: "message", message });
  }

  insert(at: number, text: string): void {
    this.step({ type: "insert", at, text });
  }

  delete(at: number, len: number): void {
    this.step({ type: "delete", at, len });
  }

  get text(): string {
    return this.replica.document.text;
  }

  /** The messages that the last step sent. */
  get messages(): ClientMessage[] {
    return this.out.flatMap((output) => (output.type === "send" ? [output.message] : []));
  }

  /** The numbers and operations that the last step sent. */
  get sent(): [number: number, op: Op][] {
    return this.messages.flatMap((sent): [number, Op][] => (sent.type === "op" ? [[sent.client_msg_id, sent.op]] : []));
  }

  /** The `hello` that the last step sent. */
  get hello(): Hello {
    const hello = this.messages.find((sent) => sent.type === "hello");
    if (!hello) throw new Error("no hello was sent");
    return hello;
  }

  get acknowledged(): number {
    return this.out.filter((output) => output.type === "event" && output.event.type === "acknowledged").length;
  }

  get refused(): [Op, string][] {
    return this.out.flatMap((output): [Op, string][] =>
      output.type === "event" && output.event.type === "refused" ? [[output.event.op, output.event.code]] : [],
    );
  }

  get hangsUp(): boolean {
    return this.out.some((output) => output.type === "disconnect");
  }

  /** The number of the own operation in a slot, and itself. */
  own(slot: number): Op {
    const own = this.replica.pending[slot];
    if (!own) throw new Error("nothing is pending there");
    return own.op;
  }
}

type Follows = "nothing" | "replay" | "resync";

export function greeting(
  server_seq: number,
  last: number,
  follows: Follows,
  more: { replaced_last?: number; limits?: Limits } = {},
): ServerMessage {
  const limits = { inflight_max: 256 };
  const v2 = { term: TERM, epoch: 0, durability: "disk", last, follows, limits, ...more } as const;
  return { type: "hello_ack", doc_id: "d", server_seq, v2 };
}

export function greetingOfSuccessor(server_seq: number, replaced_last?: number): ServerMessage {
  return greeting(server_seq, 0, "resync", replaced_last === undefined ? {} : { replaced_last });
}

export function echo(server_seq: number, origin_client_id: string, client_msg_id: number, op: Op): ServerMessage {
  const count = opCount(op);
  // Number 1 begins a term.
  const term = server_seq === count ? { term: TERM } : {};
  return { type: "op_echo", doc_id: "d", server_seq, origin_client_id, client_msg_id, op, count, ...term };
}

export function ack(client_msg_id: number, server_seq: number): ServerMessage {
  return { type: "ack", doc_id: "d", client_msg_id, server_seq, count: 1 };
}

/** One part of the state that edits make. */
export function part(server_seq: number, part: number, parts: number, ops: readonly Op[]): ServerMessage {
  const document = new Document();
  for (const op of ops) document.integrate(op, []);
  const { waiting } = document;
  const term = server_seq > 0 ? { term: TERM } : {};
  return { type: "resync", doc_id: "d", server_seq, ...term, part, parts, runs: document.runs(), waiting };
}

export function state(server_seq: number, ...ops: readonly Op[]): ServerMessage {
  return part(server_seq, 1, 1, ops);
}

export function error(code: string, retry: Retry, client_msg_id?: number): ServerMessage {
  const about = client_msg_id === undefined ? {} : { client_msg_id };
  const wait = retry === "after_ms" ? { after_ms: 1000 } : {};
  return { type: "error", doc_id: "d", code, retry, message: "", ...wait, ...about };
}
