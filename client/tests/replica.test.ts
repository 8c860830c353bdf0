/** Local edits, and what is pending over reconnects and resyncs: RESUB, RESYNC, ERR, JOIN, SYNC. */

import { describe, expect, test } from "vitest";
import type { Op } from "../src/op.ts";
import { Replica } from "../src/replica/index.ts";
import { ack, del, echo, error, greeting, HI, identity, ins, Rig, ROOT, state, TERM } from "./support/rig.ts";

describe("a local edit", () => {
  test.each<[string, number, string]>([
    ["is empty", 0, ""],
    ["is beyond the end", 5, "x"],
    ["is before the beginning", -1, "x"],
    ["is between two positions", 0.5, "x"],
    ["is nowhere", Number.NaN, "x"],
    ["is inside a surrogate pair", 2, "x"],
    ["has a surrogate without its partner", 0, "\ud83d"],
    ["has partners in the wrong order", 0, "\ude00\ud83d"],
  ])("that %s is refused", (_, at, text) => {
    const rig = new Rig();
    rig.insert(0, "a\u{1f600}b");
    rig.insert(at, text);
    expect(rig.out).toEqual([{ type: "event", event: { type: "invalid_edit" } }]);
    expect(rig.text).toBe("a\u{1f600}b");
  });

  test.each([
    [0, 0],
    [0, 5],
    [-1, 1],
    [1, -1],
    [0, 2],
    [2, 1],
    [0, 1.5],
    [0, Number.NaN],
    [Number.POSITIVE_INFINITY, 1],
  ])("that deletes %d, %d of a text with a surrogate pair is refused", (at, len) => {
    const rig = new Rig();
    rig.insert(0, "a\u{1f600}b");
    rig.delete(at, len);
    expect(rig.out).toEqual([{ type: "event", event: { type: "invalid_edit" } }]);
  });

  test("shows at once, in UTF-16 units, and names elements by scalar values", () => {
    const rig = new Rig();
    rig.insert(0, "a\u{1f600}b");
    rig.insert(3, "!");
    const op = ins([2, "A"], [4, "A"], "!");
    expect(rig.out).toEqual([
      { type: "event", event: { type: "changed", deltas: [{ type: "insert", at: 3, text: "!" }] } },
    ]);
    expect(rig.own(1)).toEqual(op);
    rig.delete(1, 3);
    expect(rig.own(2)).toEqual({ type: "batch", ops: [del([2, "A"]), del([4, "A"])] });
    expect([rig.text, rig.replica.document.length]).toEqual(["ab", 2]);
  });

  test("that is long becomes several operations, none of which cuts a surrogate pair", () => {
    const rig = new Rig();
    rig.insert(0, "\u{1f600}".repeat(32_769));
    expect(rig.replica.pending.map(({ op }) => (op.type === "ins" ? [op.id[0], op.value.length] : []))).toEqual([
      [1, 65_536],
      [32_769, 2],
    ]);
    expect(rig.replica.document.runs()).toEqual([[[1, "A"], "\u{1f600}".repeat(32_769)]]);
  });

  test("that deletes more than a thousand runs becomes several operations", () => {
    const replica = new Replica("d", identity("A"));
    for (let turn = 0; turn <= 2000; turn += 1) replica.step({ type: "insert", at: 0, text: "x" });
    replica.step({ type: "delete", at: 0, len: 2001 });
    const counts = replica.pending.slice(2001).map(({ op }) => (op.type === "batch" ? op.ops.length : 1));
    expect(counts).toEqual([1000, 1000, 1]);
    expect(replica.document.text).toBe("");
  });

  test("that deletes more characters than fit into an operation becomes several", () => {
    const replica = new Replica("d", identity("A"));
    for (const len of [30_000, 70_000, 1]) replica.step({ type: "insert", at: 0, text: "x".repeat(len) });
    const before = replica.pending.length;
    replica.step({ type: "delete", at: 0, len: 100_001 });
    expect(replica.pending.slice(before).map(({ op }) => op)).toEqual([
      { type: "batch", ops: [del([100_001, "A"]), del([30_001, "A"], 32_767)] },
      del([62_768, "A"], 32_768),
      { type: "batch", ops: [del([95_536, "A"], 4_465), del([1, "A"], 28_303)] },
      del([28_304, "A"], 1_697),
    ]);
    expect(replica.document.text).toBe("");
  });

  test("at the end of the clock is refused", () => {
    const rig = Rig.live();
    rig.say(echo(3, "X", 2, ins(ROOT, [Number.MAX_SAFE_INTEGER - 1, "X"], "x")));
    rig.insert(0, "ab");
    expect(rig.out).toEqual([{ type: "event", event: { type: "invalid_edit" } }]);
    rig.insert(0, "a");
    expect(rig.sent).toEqual([[1, ins(ROOT, [Number.MAX_SAFE_INTEGER, "A"], "a")]]);
    rig.insert(0, "a");
    expect(rig.sent).toEqual([]);
  });

  test("is still possible when everything has ended", () => {
    const rig = Rig.live();
    rig.close(4001);
    rig.insert(2, "a");
    expect([rig.text, rig.replica.unacknowledgedCount]).toEqual(["hia", 1]);
  });
});

describe("joining", () => {
  test("says who it is, what it has seen and what is answered", () => {
    const rig = new Rig();
    expect(rig.out).toEqual([
      { type: "event", event: { type: "status", status: { state: "connecting" } } },
      { type: "connect" },
    ]);
    rig.open();
    const hello = {
      type: "hello",
      doc_id: "d",
      client_id: "A",
      client_secret: "secret of A",
      protocol: { min: 1, max: 2 },
      epoch: 0,
    };
    expect(rig.hello).toEqual({ ...hello, last_seen_server_seq: 0, attempt: 1, answered: 0 });
    rig.say(greeting(0, 0, "replay"));
    rig.say({ ...echo(2, "X", 1, HI), term: TERM } as never);
    rig.insert(2, "a");
    rig.say(echo(3, "A", 1, rig.own(0)));
    rig.reopen();
    expect(rig.hello).toEqual({ ...hello, last_seen_server_seq: 3, attempt: 2, term: TERM, answered: 1 });
  });

  test("happens once, and a late timer does nothing", () => {
    const rig = new Rig();
    rig.step({ type: "start" });
    expect(rig.out).toEqual([]);
    rig.close();
    rig.step({ type: "timer_fired", timer: 7 });
    expect(rig.out).toEqual([]);
    rig.open();
    rig.step({ type: "timer_fired", timer: 1 });
    expect(rig.out).toEqual([]);
    rig.step({ type: "opened", fresh: identity("B") });
    expect(rig.replica.saved().attempt).toBe(2);
  });
});

test("what is pending stays in the view over a resync and is sent again unchanged", () => {
  const rig = Rig.live();
  rig.insert(1, "a");
  const first = rig.messages[0];
  rig.close();
  rig.insert(2, "b");
  rig.open();
  rig.say(greeting(4, 0, "resync"));
  expect(rig.sent).toEqual([]);
  rig.say(state(4, HI, ins([2, "X"], [3, "X"], "!"), del([1, "X"])));
  expect([rig.text, rig.replica.lastSeen]).toEqual(["abi!", 4]);
  expect([rig.messages[0], rig.messages.length]).toEqual([first, 2]);
});

test("a document that was replaced is not changed afterwards", () => {
  const rig = Rig.live();
  const old = rig.replica.document;
  rig.say(state(3, HI, ins([2, "X"], [3, "X"], "!")));
  expect(rig.out).toEqual([{ type: "event", event: { type: "replaced" } }]);
  rig.insert(3, "?");
  expect([old.text, rig.text]).toEqual(["hi", "hi!?"]);
});

test("a state that holds a pending operation settles nothing by itself", () => {
  const rig = Rig.live();
  rig.insert(2, "a");
  rig.say(state(3, HI, rig.own(0)));
  expect([rig.text, rig.replica.unacknowledgedCount, rig.sent]).toEqual(["hia", 1, []]);
  rig.say(ack(1, 3));
  expect([rig.acknowledged, rig.replica.pending]).toEqual([1, []]);
});

test("what is acknowledged stays in the view until its number is integrated", () => {
  const rig = Rig.live();
  rig.insert(2, "a");
  const own = rig.own(0);
  rig.reopen();
  rig.say(greeting(4, 1, "replay"));
  expect([rig.acknowledged, rig.replica.unacknowledgedCount, rig.sent]).toEqual([1, 0, []]);
  expect([rig.text, rig.replica.pending.length, rig.replica.saved().pending]).toEqual(["hia", 1, []]);
  // A resync may be of a number before it.
  rig.say(state(2, HI));
  expect([rig.text, rig.replica.pending.length]).toEqual(["hia", 1]);
  rig.say(echo(3, "A", 1, own));
  expect([rig.hangsUp, rig.acknowledged, rig.replica.pending.length]).toEqual([false, 0, 0]);
  rig.say(echo(4, "X", 2, ins(ROOT, [9, "X"], "y")));
  expect([rig.text, rig.replica.pending.length]).toEqual(["yhia", 0]);
  rig.insert(4, "b");
  expect(rig.sent[0]?.[0]).toBe(2);
});

test("at most inflight_max messages are unanswered", () => {
  const rig = Rig.live(2);
  rig.insert(2, "a");
  const own = rig.own(0);
  rig.insert(3, "b");
  expect(rig.sent[0]?.[0]).toBe(2);
  rig.insert(4, "c");
  expect(rig.sent).toEqual([]);
  rig.say(echo(3, "A", 1, own));
  expect(rig.sent[0]?.[0]).toBe(3);
});

test("after a wait the same is sent again", () => {
  const rig = Rig.live();
  rig.insert(2, "a");
  const first = rig.messages;
  rig.say(error("waiting_full", "after_ms", 1));
  expect(rig.hangsUp).toBe(true);
  rig.close();
  expect(rig.out.at(-1)).toEqual({ type: "set_timer", timer: 1, after_ms: 1000 });
  rig.open();
  expect(rig.hello.client_id).toBe("A");
  rig.say(greeting(2, 0, "nothing"));
  expect(rig.messages).toEqual(first);
});

test("after a resync the same is sent again", () => {
  const rig = Rig.live();
  rig.insert(2, "a");
  const first = rig.messages;
  rig.say(error("of_tomorrow", "resync", 1));
  rig.reopen();
  expect(rig.hello.resync).toBe(true);
  rig.say(greeting(2, 0, "resync"));
  rig.say(state(2, HI));
  expect(rig.messages).toEqual(first);
});

test("a refusal for good of no operation ends it", () => {
  const rig = Rig.live();
  rig.insert(2, "a");
  rig.say(error("malformed", "never"));
  expect(rig.replica.status).toEqual({ state: "ended", reason: "malformed" });
  expect(rig.replica.unacknowledgedCount).toBe(1);
});

test("who was taken over stays away", () => {
  const rig = Rig.live();
  rig.close(4001);
  expect(rig.replica.status).toEqual({ state: "ended", reason: "taken_over" });
  rig.step({ type: "timer_fired", timer: 1 });
  expect(rig.out).toEqual([]);
});

test("a barrier goes out behind what it covers and again after a reconnect", () => {
  const rig = Rig.live(1);
  const own: Op = ins([2, "X"], [3, "A"], "a");
  rig.insert(2, "a");
  rig.insert(3, "b");
  rig.step({ type: "sync", nonce: 7 });
  expect(rig.messages).toEqual([]);
  rig.say(echo(3, "A", 1, own));
  expect(rig.messages.map(({ type }) => type)).toEqual(["op", "sync"]);
  rig.reopen();
  rig.say(greeting(3, 1, "nothing"));
  expect(rig.messages.map(({ type }) => type)).toEqual(["op", "sync"]);
  rig.say({ type: "synced", doc_id: "d", nonce: 7, server_seq: 4 });
  expect(rig.out).toEqual([{ type: "event", event: { type: "synced", nonce: 7 } }]);
  rig.say({ type: "synced", doc_id: "d", nonce: 7, server_seq: 4 });
  expect(rig.out).toEqual([]);
});
