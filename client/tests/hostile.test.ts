/** A server that breaks the rules: the client hangs up, keeps what is pending, and asks for the state next time. */

import { describe, expect, test } from "vitest";
import { decodeServer } from "../src/codec/index.ts";
import type { ServerMessage } from "../src/message.ts";
import type { Op } from "../src/op.ts";
import { ack, del, echo, greeting, HI, ins, part, Rig, ROOT, state } from "./support/rig.ts";

/** What a broken rule must lead to: no change but the wish for a resync. */
function expectNotBelieved(rig: Rig, message: ServerMessage): void {
  const kept = () => [rig.text, rig.replica.lastSeen, rig.replica.unacknowledgedCount, rig.replica.identity];
  const before = kept();
  rig.say(message);
  expect([rig.hangsUp, rig.acknowledged]).toEqual([true, 0]);
  rig.say(greeting(9, 9, "nothing"));
  expect(rig.out).toEqual([]);
  rig.close();
  expect(kept()).toEqual(before);
  rig.open();
  expect(rig.hello.resync).toBe(true);
}

const x = ins(ROOT, [9, "X"], "x");
const own = (slot: number): Op => Rig.twoSent().own(slot);

function joining(): Rig {
  const rig = Rig.twoSent();
  rig.reopen();
  return rig;
}

describe("not believed is", () => {
  test.each<[string, () => Rig, ServerMessage]>([
    ["a number that comes again", Rig.live, echo(2, "X", 2, x)],
    ["a number that leaves a gap", Rig.live, echo(4, "X", 2, x)],
    ["the largest number", Rig.live, echo(Number.MAX_SAFE_INTEGER, "X", 2, x)],
    ["a count that is not the operation's", Rig.live, { ...echo(4, "X", 2, x), count: 2 } as ServerMessage],
    ["an echo of version 1", Rig.live, { ...echo(3, "X", 2, x), count: 0 } as ServerMessage],
    ["an entry of an unknown kind", Rig.live, { ...echo(3, "X", 2, x), op: undefined } as ServerMessage],
    ["an echo of another operation than the one sent", Rig.twoSent, echo(3, "A", 1, ins(ROOT, [3, "A"], "x"))],
    ["an echo of what was never made", Rig.twoSent, echo(3, "A", 3, ins(ROOT, [5, "A"], "c"))],
    ["an echo that skips an own operation", Rig.twoSent, echo(3, "A", 2, own(1))],
    ["an ack of what was never sent", Rig.twoSent, ack(3, 3)],
    ["another document", Rig.live, { ...echo(3, "X", 2, x), doc_id: "e" } as ServerMessage],
    ["a state of before", Rig.twoSent, state(1, HI)],
    ["a state that begins in the middle", Rig.twoSent, part(9, 2, 2, [HI])],
    ["an echo before the greeting", joining, echo(3, "X", 2, x)],
    ["an ack before the greeting", joining, ack(1, 3)],
    ["a synced before the greeting", joining, { type: "synced", doc_id: "d", nonce: 1, server_seq: 2 }],
    ["a greeting that contradicts itself", joining, greeting(5, 0, "nothing")],
    ["a second greeting", Rig.twoSent, greeting(2, 0, "nothing")],
    ["a resync of version 1", Rig.twoSent, { type: "resync_text", doc_id: "d" }],
  ])("%s", (_, rig, message) => expectNotBelieved(rig(), message));

  test("a first number without a term", () => {
    const without = (message: ServerMessage): ServerMessage =>
      JSON.parse(JSON.stringify(message, (key, value) => (key === "term" ? undefined : value)));
    const rig = new Rig();
    rig.open();
    rig.say(without(greeting(0, 0, "nothing")));
    expectNotBelieved(rig, without(echo(1, "X", 1, ins(ROOT, [1, "X"], "h"))));
  });

  test("an own operation that is echoed again", () => {
    const rig = Rig.twoSent();
    rig.say(echo(3, "A", 1, own(0)));
    expect(rig.acknowledged).toBe(1);
    expectNotBelieved(rig, echo(4, "A", 1, own(0)));
  });

  test("an ack of what is not sent yet", () => {
    const rig = Rig.live(1);
    rig.insert(2, "a");
    rig.insert(3, "b");
    expect(rig.sent).toEqual([]);
    expectNotBelieved(rig, ack(2, 4));
  });

  test("a state that contradicts itself", () => {
    const good = state(9, HI);
    if (good.type !== "resync") throw new Error("is a resync");
    expectNotBelieved(Rig.twoSent(), { ...good, runs: [...good.runs, ...good.runs] });
    expectNotBelieved(Rig.twoSent(), { ...good, waiting: [{ type: "del", id: [1, "X"] }] });
    for (const second of [part(9, 1, 3, [HI]), part(9, 3, 3, [HI]), part(8, 2, 3, [HI]), part(9, 2, 4, [HI])]) {
      const rig = Rig.twoSent();
      rig.say(part(9, 1, 3, []));
      expect(rig.hangsUp).toBe(false);
      expectNotBelieved(rig, second);
    }
  });
});

test("a malformed message is not believed", () => {
  const rig = Rig.twoSent();
  rig.step({ type: "malformed" });
  expect([rig.hangsUp, rig.replica.status.state]).toEqual([true, "connecting"]);
  rig.reopen();
  expect(rig.hello.resync).toBe(true);
});

test("an own deletion is known again whether or not its length of 1 is written", () => {
  const rig = Rig.live();
  rig.delete(0, 1);
  const said = decodeServer(JSON.stringify(echo(3, "A", 1, { type: "del", id: [1, "X"], len: 1 })));
  if (said) rig.say(said);
  expect([rig.acknowledged, rig.hangsUp]).toEqual([1, false]);
  expect(rig.replica.document.runs()).toEqual([
    [[1, "X"], 1],
    [[2, "X"], "i"],
  ]);
  expect(del([1, "X"])).toEqual({ type: "del", id: [1, "X"] });
});

test("a server of version 1 ends it and what is pending stays readable", () => {
  const rig = joining();
  rig.say({ type: "hello_ack", doc_id: "d", server_seq: 2 });
  expect(rig.replica.status).toEqual({ state: "ended", reason: "unsupported_version" });
  expect([rig.text, rig.replica.unacknowledgedCount]).toEqual(["hiab", 2]);
});

test("a server that breaks a rule after every join is asked less and less often", () => {
  const rig = new Rig();
  rig.step({ type: "opened", fresh: { client: "B", secret: "s" } });
  const waits: number[] = [];
  for (let attempt = 1; attempt <= 10; attempt += 1) {
    rig.say(greeting(7, 0, "resync"));
    rig.step({ type: "malformed" });
    rig.close();
    waits.push(...rig.out.flatMap((output) => (output.type === "set_timer" ? [output.after_ms] : [])));
    rig.open();
  }
  expect(waits).toEqual([125, 250, 500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
});

test("what was integrated makes the next wait short again, and jitter makes it longer", () => {
  const rig = new Rig();
  for (let turn = 0; turn < 5; turn += 1) {
    rig.close();
    rig.step({ type: "timer_fired", timer: 0 });
  }
  rig.step({ type: "opened", fresh: { client: "B", secret: "s" } });
  rig.say(greeting(2, 0, "replay"));
  rig.say(echo(2, "X", 1, HI));
  rig.step({ type: "closed", code: 1013, jitter: 65_535 });
  expect(rig.out.at(-1)).toEqual({ type: "set_timer", timer: 1, after_ms: 249 });
});
