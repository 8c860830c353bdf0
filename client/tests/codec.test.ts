/** Messages as JSON text: what docs/protocol.md allows is read and nothing else. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeServer, encodeClient } from "../src/codec/index.ts";

const TERM = "000102030405060708090a0b0c0d0e0f";
const limits = { message_bytes_max: 1, lamport_jump_max: 2 ** 53 - 1, inflight_max: 7, of_tomorrow: [null] };
const HELLO_ACK = {
  type: "hello_ack",
  doc_id: "d",
  server_seq: 5,
  protocol: 2,
  term: TERM,
  epoch: 0,
  durability: "disk",
  last: 3,
  replaced_last: 2,
  follows: "replay",
  features: ["runs"],
  limits,
};
const INS = { type: "ins", parent_id: [0, "root"], id: [7, "A"], value: "a\u{1f600}" };
const ECHO = {
  type: "op_echo",
  doc_id: "d",
  server_seq: 8,
  origin_client_id: "A",
  client_msg_id: 7,
  op: INS,
  count: 2,
};
const STATE = {
  replicas: ["A", "B"],
  runs: [
    [1, 0, "hi"],
    [4, 1, 3],
  ],
  waiting: [{ type: "del", id: [9, "A"], len: 1 }],
};
const RESYNC = { type: "resync", doc_id: "d", server_seq: 8, term: TERM, part: 1, parts: 2, state: STATE };
const ERROR = {
  type: "error",
  doc_id: "d",
  code: "of_tomorrow",
  retry: "after_ms",
  after_ms: 4_294_967_295,
  message: "",
};
const ACK = { type: "ack", doc_id: "d", client_msg_id: 1, server_seq: 5, count: 1 };

const decode = (message: object) => decodeServer(JSON.stringify(message));

describe("a message of the server", () => {
  test.each<[string, object, object]>([
    [
      "hello_ack",
      HELLO_ACK,
      {
        type: "hello_ack",
        doc_id: "d",
        server_seq: 5,
        v2: {
          term: TERM,
          epoch: 0,
          durability: "disk",
          last: 3,
          replaced_last: 2,
          follows: "replay",
          limits: { message_bytes_max: 1, lamport_jump_max: 2 ** 53 - 1, inflight_max: 7 },
        },
      },
    ],
    [
      "hello_ack of an empty document",
      { ...HELLO_ACK, server_seq: 0, term: undefined, replaced_last: undefined, limits: {} },
      {
        type: "hello_ack",
        doc_id: "d",
        server_seq: 0,
        v2: { epoch: 0, durability: "disk", last: 3, follows: "replay", limits: { inflight_max: 256 } },
      },
    ],
    [
      "hello_ack of version 1",
      { ...HELLO_ACK, protocol: undefined, limits: 5 },
      { type: "hello_ack", doc_id: "d", server_seq: 5 },
    ],
    ["op_echo", { ...ECHO, term: TERM }, { ...ECHO, term: TERM }],
    ["op_echo of a message of version 1", { ...ECHO, client_msg_id: "m-1" }, { ...ECHO, client_msg_id: "m-1" }],
    [
      "op_echo of a batch",
      {
        ...ECHO,
        op: {
          type: "batch",
          ops: [
            { ...INS, value: "x" },
            { type: "del", id: [1, "B"], len: 1 },
          ],
        },
      },
      {
        ...ECHO,
        op: {
          type: "batch",
          ops: [
            { ...INS, value: "x" },
            { type: "del", id: [1, "B"] },
          ],
        },
      },
    ],
    [
      "op_echo of a retired client",
      { ...ECHO, op: { type: "retire", client_id: "B" }, count: 1, client_msg_id: 0 },
      { ...ECHO, op: { type: "retire", client_id: "B" }, count: 1, client_msg_id: 0 },
    ],
    [
      "op_echo of a kind of tomorrow",
      { ...ECHO, op: { type: "move", to: [] }, count: 3 },
      { ...ECHO, op: undefined, count: 3, origin_client_id: "", client_msg_id: 0 },
    ],
    [
      "op_echo of version 1",
      { ...ECHO, count: undefined, client_msg_id: "m", op: { type: "del", id: [1, "A"], len: 5 } },
      { ...ECHO, count: 0, client_msg_id: "m", op: { type: "del", id: [1, "A"] } },
    ],
    [
      "resync",
      RESYNC,
      {
        type: "resync",
        doc_id: "d",
        server_seq: 8,
        term: TERM,
        part: 1,
        parts: 2,
        runs: [
          [[1, "A"], "hi"],
          [[4, "B"], 3],
        ],
        waiting: [{ type: "del", id: [9, "A"] }],
      },
    ],
    [
      "resync of version 1",
      { type: "resync", doc_id: "d", server_seq: 8, full_text: "x" },
      { type: "resync_text", doc_id: "d" },
    ],
    ["error", ERROR, ERROR],
    [
      "error of a message",
      { ...ERROR, retry: "never", client_msg_id: 3 },
      { ...ERROR, retry: "never", client_msg_id: 3, after_ms: undefined },
    ],
    ["ack", ACK, ACK],
    [
      "synced",
      { type: "synced", doc_id: "d", nonce: 0, server_seq: 0 },
      { type: "synced", doc_id: "d", nonce: 0, server_seq: 0 },
    ],
  ])("%s is read, with fields that nobody knows", (_, message, expected) => {
    expect(decode({ of_tomorrow: { a: [{}, 1.5, null] }, ...message })).toEqual(expected);
    expect(decodeServer(JSON.stringify(message).replace(/}$/, ',"of_tomorrow":{"a":1,"\\u0061":1}}'))).toBeUndefined();
  });

  const run = (...runs: unknown[]) => ({ ...RESYNC, state: { ...STATE, runs } });
  const op = (op: object) => ({ ...ECHO, op });
  test.each<[string, object]>([
    ["no object", []],
    ["an unknown type", { ...ACK, type: "hello" }],
    ["no document", { ...ACK, doc_id: undefined }],
    ["a document that is no name", { ...ACK, doc_id: "a/b" }],
    ["a document named ..", { ...ACK, doc_id: ".." }],
    ["a document whose name is too long", { ...ACK, doc_id: "d".repeat(129) }],
    ["a document with a line feed", { ...ACK, doc_id: "d\n" }],
    ["null for an optional field", { ...HELLO_ACK, replaced_last: null }],
    ["null for a required field", { ...ACK, count: null }],
    ["a string for an integer", { ...ACK, count: "1" }],
    ["a fraction", { ...ACK, count: 1.5 }],
    ["a count of 0", { ...ACK, count: 0 }],
    ["a message number of 0", { ...ACK, client_msg_id: 0 }],
    ["another version", { ...HELLO_ACK, protocol: 3 }],
    ["a term without a number", { ...HELLO_ACK, server_seq: 0 }],
    ["a number without a term", { ...HELLO_ACK, term: undefined }],
    ["a term in upper case", { ...HELLO_ACK, term: TERM.toUpperCase() }],
    ["an unknown durability", { ...HELLO_ACK, durability: "tape" }],
    ["an unknown follows", { ...HELLO_ACK, follows: "tape" }],
    ["no features", { ...HELLO_ACK, features: undefined }],
    ["a feature that is no string", { ...HELLO_ACK, features: [1] }],
    ["no limits", { ...HELLO_ACK, limits: undefined }],
    ["a limit beyond 32 bits", { ...HELLO_ACK, limits: { answers_max: 2 ** 32 } }],
    ["a limit that is null", { ...HELLO_ACK, limits: { lamport_jump_max: null } }],
    ["a count that is not the operation's", { ...ECHO, count: 3 }],
    ["a number below count", { ...ECHO, server_seq: 1 }],
    ["an origin that is no name", { ...ECHO, origin_client_id: "root" }],
    ["an origin with a control character", { ...ECHO, origin_client_id: "a\u0085" }],
    ["no message number", { ...ECHO, client_msg_id: undefined }],
    ["an operation without a type", op({})],
    ["an insertion at itself", op({ ...INS, id: [0, "root"] })],
    ["an insertion of nothing", op({ ...INS, value: "" })],
    ["an insertion beyond the largest id", op({ ...INS, id: [2 ** 53 - 1, "A"] })],
    ["a parent with lamport 0", op({ ...INS, parent_id: [0, "A"] })],
    ["a parent of three items", op({ ...INS, parent_id: [0, "root", 1] })],
    ["a parent of null", op({ ...INS, parent_id: [1, "A", null] })],
    ["a parent called root", op({ ...INS, parent_id: [1, "root"] })],
    ["a deletion of nothing", { ...ECHO, op: { type: "del", id: [1, "A"], len: 0 } }],
    ["a deletion of null", { ...ECHO, count: 1, op: { type: "del", id: [1, "A"], len: null } }],
    [
      "a deletion beyond 32 bits",
      { ...ECHO, count: 2 ** 32, server_seq: 2 ** 33, op: { type: "del", id: [1, "A"], len: 2 ** 32 } },
    ],
    ["an empty batch", op({ type: "batch", ops: [] })],
    ["a batch in a batch", op({ type: "batch", ops: [{ type: "batch", ops: [INS] }] })],
    ["a batch of version 1", { ...ECHO, count: undefined, client_msg_id: "m", op: { type: "batch", ops: [INS] } }],
    ["two characters in version 1", { ...ECHO, count: undefined, client_msg_id: "m" }],
    ["a number as message name in version 1", { ...ECHO, count: undefined, op: { ...INS, value: "x" } }],
    ["an unknown kind in version 1", { ...ECHO, count: undefined, client_msg_id: "m", op: { type: "move" } }],
    ["part 0", { ...RESYNC, part: 0 }],
    ["a part above parts", { ...RESYNC, part: 3 }],
    ["too many parts", { ...RESYNC, parts: 2 ** 32 }],
    ["a run of two items", run([1, 0])],
    ["a run of four items", run([1, 0, "a", 1])],
    ["an empty run", run([1, 0, ""])],
    ["a run of no tombstone", run([1, 0, 0])],
    ["a run of null", run([1, 0, null])],
    ["a run at the root", run([0, 0, "a"])],
    ["a run of nobody", run([1, 2, "a"])],
    ["a run beyond the largest id", run([2 ** 53 - 1, 0, "ab"])],
    ["tombstones beyond 32 bits", run([1, 0, 2 ** 32])],
    ["a replica that is no name", { ...RESYNC, state: { ...STATE, replicas: ["A", ""] } }],
    ["a waiting batch", { ...RESYNC, state: { ...STATE, waiting: [{ type: "batch", ops: [INS] }] } }],
    ["no waiting", { ...RESYNC, state: { ...STATE, waiting: undefined } }],
    ["a resync of neither version", { type: "resync", doc_id: "d", server_seq: 8 }],
    ["an unknown advice", { ...ERROR, retry: "later" }],
    ["no wait", { ...ERROR, after_ms: undefined }],
    ["a wait beyond 32 bits", { ...ERROR, after_ms: 2 ** 32 }],
    ["no words", { ...ERROR, message: undefined }],
    ["a refused message of 0", { ...ERROR, client_msg_id: 0 }],
  ])("that holds %s is malformed", (_, message) => {
    expect(decode(message)).toBeUndefined();
  });

  test("may be a little longer than a client's, in bytes of UTF-8", () => {
    const of = (bytes: number) => {
      const frame = JSON.stringify({ ...ACK, of_tomorrow: "é" });
      return frame.replace("é", `é${"x".repeat(bytes - frame.length - 1)}`);
    };
    expect(decodeServer(of(2 ** 20 + 1024))).toEqual(ACK);
    expect(decodeServer(of(2 ** 20 + 1025))).toBeUndefined();
    const long = { type: "resync", doc_id: "d", server_seq: 8, full_text: "x".repeat(2 ** 21) };
    expect(decode(long)).toEqual({ type: "resync_text", doc_id: "d" });
  });

  test("never throws, whatever came", () => {
    const messages = [HELLO_ACK, ECHO, RESYNC, ERROR, ACK].map((message) => JSON.stringify(message));
    fc.assert(
      fc.property(
        fc.constantFrom(...messages),
        fc.nat(),
        fc.nat({ max: 9 }),
        fc.string({ maxLength: 3 }),
        (frame, at, len, text) => {
          const start = at % frame.length;
          decodeServer(frame.slice(0, start) + text + frame.slice(start + len));
        },
      ),
      { numRuns: 3000 },
    );
  });
});

describe("a message of the client", () => {
  const op = { type: "op", doc_id: "d", client_id: "A", client_msg_id: 1, answered: 0, epoch: 0, seen: 2 } as const;

  test("has the shortest escapes", () => {
    const value = '"\\\b\f\n\r\t\0\u001f\u007f\u0085\u2028\u{1f600}/';
    const message = { ...op, op: { type: "ins", parent_id: [0, "root"], id: [1, "A"], value } } as const;
    expect(encodeClient(message)).toContain(
      '"value":"\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\u007f\u0085\u2028\u{1f600}/"',
    );
  });
});
