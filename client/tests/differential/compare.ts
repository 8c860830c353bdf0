/** Replays what the Rust replica did in the TypeScript one, and finds the first difference. */

import { decodeOp, decodeServer, encodeClient } from "../../src/codec/index.ts";
import type { Input, Output, ReplicaEvent, Saved } from "../../src/machine.ts";
import type { Op } from "../../src/op.ts";
import { Replica } from "../../src/replica/index.ts";
import type { Digest, Line, LineInput, LineOutput, Origin, StepLine, Whole } from "./lines.ts";
import type { Statistics } from "./statistics.ts";

/** The first difference: everything that is needed to look for its reason. */
export class Difference extends Error {
  constructor(origin: Origin, step: number, what: string, input: unknown, expected: unknown, got: unknown) {
    const { kind, seed, index, steps } = origin;
    const which = kind === "world" ? "COLLAB_WORLDS=1 COLLAB_LONE=0" : "COLLAB_WORLDS=0 COLLAB_LONE=1";
    const length = steps === undefined ? "" : ` COLLAB_STEPS=${steps}`;
    const show = (value: unknown): string => JSON.stringify(value) ?? "undefined";
    super(
      [
        `${what} differs: ${JSON.stringify(origin)}, step ${step}`,
        `  input:    ${show(input)}`,
        `  expected: ${show(expected)}`,
        `  got:      ${show(got)}`,
        `  again:    ${which} COLLAB_FIRST=${index} COLLAB_SEED=${seed}${length} npm run test:differential`,
      ].join("\n"),
    );
    this.name = "Difference";
  }
}

/** Compares lines in the order in which they are written. */
export class Comparison {
  readonly #statistics: Statistics;
  #origin: Origin = { kind: "lone", seed: 0, index: 0 };
  #replica: Replica | undefined;
  #step = 0;
  #input: unknown;
  /** The text by the changes that the replica reported. */
  #text = "";

  constructor(statistics: Statistics) {
    this.#statistics = statistics;
  }

  /** Goes on by one line. Throws `Difference`. */
  take(line: Line): void {
    this.#step += 1;
    if ("replica" in line) {
      this.#origin = line.replica;
      this.#replica = new Replica(line.doc, line.identity);
      this.#step = 0;
      this.#text = "";
      this.#statistics.replica(line.replica.kind);
      return;
    }
    const replica = this.#replica;
    if (replica === undefined) throw new Error("a step of no replica");
    if ("in" in line) this.#take(replica, line);
    else if ("end" in line) this.#whole(replica, line.end);
    else if ("restore" in line) {
      this.#input = line;
      const restored = Replica.restore(replica.doc, asRead(line.restore));
      this.#replica = restored;
      this.#text = restored.document.text;
      this.#digest(restored, line.is);
      this.#statistics.restored(line.restore.pending.length);
    } else this.#fails(replica.doc, line);
  }

  #fails(doc: string, line: { readonly restore_fails: Parameters<typeof Replica.restore>[1] }): void {
    let error: unknown;
    try {
      Replica.restore(doc, line.restore_fails);
    } catch (thrown) {
      error = thrown;
    }
    this.#input = line;
    this.#equal("refusal to restore", true, error instanceof Error);
    this.#statistics.restoreFailed();
  }

  #take(replica: Replica, line: StepLine): void {
    this.#input = line.in;
    const before = replica.document;
    const outputs = replica.step(this.#read(line.in));
    const got = outputs.map(written);
    this.#equal("what comes out", line.out, got);
    this.#follow(replica, outputs);
    if (replica.document !== before) {
      this.#equal("telling of another document", true, outputs.some(isReplaced));
    }
    this.#digest(replica, line.is);
    if (line.whole !== undefined) this.#whole(replica, line.whole);
    this.#statistics.step(line);
  }

  #read(input: LineInput): Input {
    if (input.type === "closed") return { type: "closed", code: input.code ?? undefined, jitter: input.jitter };
    if (input.type !== "message") return input;
    const message = decodeServer(input.text);
    this.#equal("whether it is malformed", input.is_malformed, message === undefined);
    return message === undefined ? { type: "malformed" } : { type: "message", message };
  }

  /** The reported changes must make the text that the replica has. */
  #follow(replica: Replica, outputs: readonly Output[]): void {
    for (const output of outputs) {
      if (output.type !== "event") continue;
      const event: ReplicaEvent = output.event;
      if (event.type === "replaced") this.#text = replica.document.text;
      if (event.type !== "changed") continue;
      for (const delta of event.deltas) {
        const [start, end] = [this.#text.slice(0, delta.at), this.#text.slice(delta.at)];
        this.#text = delta.type === "insert" ? start + delta.text + end : start + end.slice(delta.len);
      }
    }
    this.#equal("the text by its changes", this.#text, replica.document.text);
  }

  #digest(replica: Replica, expected: Digest): void {
    const { document, status, identity } = replica;
    const { attempt, clock, rekey, ...saved } = replica.saved();
    const got: Digest = {
      length: document.length,
      hash: hash(document.text),
      last_seen: replica.lastSeen,
      status,
      next_number: replica.nextNumber,
      unacknowledged: replica.unacknowledgedCount,
      identity,
      attempt,
      clock,
      rekey: rekey ?? null,
      pending: replica.pending.map(({ number, settled }) => (settled === undefined ? [number] : [number, settled])),
    };
    this.#equal("the state", expected, got);
    this.#equal("whether it rekeys", expected.rekey !== null, replica.isRekeying);
    const pending = replica.pending.filter(({ settled }) => settled === undefined);
    this.#equal("what is saved", saved, {
      identity,
      next_number: replica.nextNumber,
      pending: pending.map(({ number, op }) => [number, op]),
    });
  }

  #whole(replica: Replica, expected: Whole): void {
    const { document } = replica;
    this.#equal("the whole", expected, {
      text: document.text,
      runs: document.runs(),
      waiting: document.waiting,
      pending: replica.pending.map(({ op }): Op => op),
      saved: replica.saved(),
    });
  }

  #equal(what: string, expected: unknown, got: unknown): void {
    if (!same(expected, got)) throw new Difference(this.#origin, this.#step, what, this.#input, expected, got);
  }
}

function written(output: Output): LineOutput {
  return output.type === "send" ? { type: "send", text: encodeClient(output.message) } : output;
}

function isReplaced(output: Output): boolean {
  return output.type === "event" && output.event.type === "replaced";
}

/** FNV-1a over UTF-16 units, in 32 bits. */
function hash(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

/** Whether two values are the same as JSON: a field that is `undefined` is one that is absent. */
export function same(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null) return false;
  if (Array.isArray(one) !== Array.isArray(other)) return false;
  const [ones, others] = [fields(one), fields(other)];
  return ones.length === others.length && ones.every(([key, value]) => same(value, Reflect.get(other, key)));
}

function fields(object: object): [string, unknown][] {
  return Object.entries(object).filter(([, value]) => value !== undefined);
}

/** What was saved, with its operations as a store's are read. */
function asRead(saved: Saved): Saved {
  const pending = saved.pending.map(([number, op]) => {
    const read = decodeOp(JSON.stringify(op));
    if (!read) throw new Error(`an operation is malformed: ${JSON.stringify(op)}`);
    return [number, read] as const;
  });
  return { ...structuredClone(saved), pending };
}
