/** The vectors that the Rust implementation wrote: tests/vectors/README.md. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeServer, encodeClient } from "../src/codec/index.ts";
import { Document } from "../src/document.ts";
import type { Delta } from "../src/machine.ts";
import type { ClientMessage, Run, ServerMessage } from "../src/message.ts";
import type { Edit, Op, Retire } from "../src/op.ts";

interface SequenceCase {
  readonly about: string;
  readonly ops: readonly (Op | Retire)[];
  readonly deliveries: readonly { readonly order: readonly number[]; readonly deltas: readonly Delta[][] }[];
  readonly text: string;
  readonly runs: readonly Run[];
  readonly waiting: readonly Edit[];
}

interface DecodeCase {
  readonly about: string;
  readonly accepted: readonly { readonly text: string; readonly message: object }[];
  readonly refused: readonly { readonly text: string; readonly why: string }[];
}

interface EncodeCase {
  readonly about: string;
  readonly message: ClientMessage;
  readonly text: string;
}

function read<T>(name: string): T[] {
  return JSON.parse(readFileSync(new URL(`vectors/${name}.json`, import.meta.url), "utf8")) as T[];
}

describe("sequence", () => {
  test.each(read<SequenceCase>("sequence"))("$about", ({ ops, deliveries, text, runs, waiting }) => {
    for (const { order, deltas } of deliveries) {
      const document = new Document();
      const got = order.map((index) => integrated(document, ops[index]));
      expect(got, `in the order ${order}`).toEqual(deltas);
      expect({ text: document.text, length: document.length }).toEqual({ text, length: text.length });
      expect({ runs: document.runs(), waiting: document.waiting }).toEqual({ runs, waiting });
    }
  });
});

function integrated(document: Document, op: Op | Retire | undefined): Delta[] {
  if (op === undefined) throw new Error("there is no such operation");
  const deltas: Delta[] = [];
  document.integrate(op, deltas);
  return deltas;
}

describe("decode", () => {
  test.each(read<DecodeCase>("decode"))("$about", ({ accepted, refused }) => {
    for (const { text, message } of accepted) expect(understood(decodeServer(text)), text).toEqual(message);
    for (const { text, why } of refused) expect(decodeServer(text), `${text}: ${why}`).toBeUndefined();
  });
});

/** Without the sentence for people. */
function understood(message: ServerMessage | undefined): object | undefined {
  if (message?.type !== "error") return message;
  const { message: _, ...rest } = message;
  return rest;
}

describe("encode", () => {
  test.each(read<EncodeCase>("encode"))("$about", ({ message, text }) => {
    // The vectors' fields are sorted by name: JSON tells nothing by their order, and the replica makes them in that of
    // the reference, which the differential test compares.
    expect(JSON.parse(text)).toEqual(message);
    expect(encodeClient(JSON.parse(text))).toBe(text);
  });
});
