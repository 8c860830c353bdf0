/** Becoming a new instance: REKEY, and what it does to operations that refer to what is gone. */

import { describe, expect, test } from "vitest";
import type { Op } from "../src/op.ts";
import { Replica } from "../src/replica/index.ts";
import {
  ack,
  del,
  echo,
  error,
  greeting,
  greetingOfSuccessor,
  HI,
  identity,
  ins,
  part,
  Rig,
  ROOT,
  state,
} from "./support/rig.ts";

/** Live with what `edit` makes pending, told to rekey, and connected again as B2. */
function rekeying(edit: (rig: Rig) => void): Rig {
  const rig = Rig.live();
  edit(rig);
  rig.say(error("stale_epoch", "rekey"));
  expect([rig.hangsUp, rig.replica.isRekeying]).toEqual([true, true]);
  rig.reopen();
  return rig;
}

const typed =
  (...texts: string[]) =>
  (rig: Rig) => {
    for (const text of texts) rig.insert(rig.text.length, text);
  };

test("a rekeying hello names the old identity until the whole state is here", () => {
  const rig = rekeying(typed("a"));
  for (const attempt of [2, 3]) {
    expect(rig.hello).toEqual({
      type: "hello",
      doc_id: "d",
      client_id: "B2",
      last_seen_server_seq: 0,
      protocol: { min: 1, max: 2 },
      client_secret: "secret of B2",
      attempt,
      answered: 0,
      epoch: 0,
      resync: true,
      replaces: { client_id: "A", client_secret: "secret of A" },
    });
    rig.say(greetingOfSuccessor(3, 0));
    rig.say(part(3, 1, 2, [HI]));
    expect(rig.sent).toEqual([]);
    rig.reopen();
  }
  rig.say(greetingOfSuccessor(3, 0));
  rig.say(state(3, HI));
  expect([rig.replica.identity, rig.replica.isRekeying]).toEqual([identity("B2"), false]);
  rig.reopen();
  expect([rig.hello.client_id, rig.hello.replaces, rig.hello.resync]).toEqual(["B2", undefined, undefined]);
});

test("a successor that is refused is replaced by another", () => {
  const rig = rekeying(typed("a"));
  rig.say(error("client_id_taken", "rekey"));
  rig.reopen();
  expect([rig.hello.client_id, rig.hello.replaces?.client_id]).toEqual(["B3", "A"]);
});

test("a greeting in a rekey that promises no state is not believed", () => {
  const rig = rekeying(typed("a"));
  rig.say(greeting(3, 0, "replay"));
  expect([rig.hangsUp, rig.replica.isRekeying]).toEqual([true, true]);
});

test("what was accepted is acknowledged and the rest made again with fresh ids", () => {
  const rig = rekeying((rig) => {
    typed("a", "bc")(rig);
    rig.delete(3, 1);
  });
  rig.say(greetingOfSuccessor(5, 1));
  rig.say(state(5, HI, ins([2, "X"], [3, "A"], "a"), ins(ROOT, [9, "Y"], "y")));
  expect(rig.acknowledged).toBe(1);
  expect(rig.sent).toEqual([
    [1, ins([3, "A"], [10, "B2"], "bc")],
    [2, del([10, "B2"])],
  ]);
  expect([rig.text, rig.replica.saved().clock]).toEqual(["yhiac", 11]);
});

test("without a record element ids decide; a record decides whatever they say", () => {
  const rig = rekeying(typed("a", "b"));
  rig.say(greetingOfSuccessor(3));
  rig.say(state(3, HI, ins([2, "X"], [3, "A"], "a")));
  expect([rig.acknowledged, rig.sent.length, rig.text]).toEqual([1, 1, "hiab"]);
  const recorded = rekeying(typed("a"));
  recorded.say(greetingOfSuccessor(3, 0));
  recorded.say(state(3, HI, ins([2, "X"], [3, "A"], "a")));
  expect([recorded.acknowledged, recorded.sent.length]).toEqual([0, 1]);
});

test("a vanished parent becomes the nearest to its left that still exists", () => {
  const rig = Rig.live();
  rig.say(echo(5, "X", 2, ins([2, "X"], [3, "X"], "jkl")));
  rig.say(echo(6, "X", 3, del([2, "X"])));
  rig.insert(4, "a");
  rig.insert(0, "b");
  expect(rig.text).toBe("bhjkla");
  rig.say(error("unknown_term", "rekey"));
  rig.reopen();
  rig.say(greetingOfSuccessor(9));
  // Of "hi" and "jkl" a restored backup has "hi", which is not deleted in it; and it has another "z".
  rig.say(state(9, HI, ins([2, "X"], [7, "Y"], "z")));
  expect(rig.sent).toEqual([
    [1, ins([2, "X"], [8, "B2"], "a")],
    [2, ins(ROOT, [9, "B2"], "b")],
  ]);
  expect(rig.text).toBe("bhiaz");
});

test("without any element to the left the parent is the root", () => {
  const rig = rekeying(typed("a"));
  rig.say(greetingOfSuccessor(0));
  rig.say(state(0));
  expect(rig.sent).toEqual([[1, ins(ROOT, [1, "B2"], "a")]]);
});

test("a deletion of what vanished ends as acknowledged and of the rest is made again", () => {
  const rig = rekeying((rig) => {
    rig.delete(1, 1);
    rig.delete(0, 1);
  });
  rig.say(greetingOfSuccessor(1));
  rig.say(state(1, ins(ROOT, [1, "X"], "h")));
  expect([rig.acknowledged, rig.sent]).toEqual([1, [[1, del([1, "X"])]]]);
  const both = rekeying((rig) => rig.delete(0, 2));
  both.say(greetingOfSuccessor(1));
  both.say(state(1, ins(ROOT, [1, "X"], "h")));
  expect([both.acknowledged, both.sent]).toEqual([0, [[1, del([1, "X"])]]]);
});

test("a refused operation is handed over and what follows goes on", () => {
  const rig = Rig.live();
  typed("a", "b")(rig);
  rig.delete(2, 1);
  rig.insert(0, "c");
  const refused = rig.own(0);
  rig.say(error("document_full", "never", 1));
  rig.reopen();
  rig.say(greetingOfSuccessor(3, 0));
  rig.say(state(3, HI));
  expect(rig.refused).toEqual([[refused, "document_full"]]);
  // The deletion of what never was.
  expect(rig.acknowledged).toBe(1);
  expect(rig.sent).toEqual([
    [1, ins([2, "X"], [3, "B2"], "b")],
    [2, ins(ROOT, [4, "B2"], "c")],
  ]);
  expect(rig.text).toBe("chib");
});

test("a refused operation is handed over once even if the rekey is refused too", () => {
  const rig = Rig.live();
  rig.insert(2, "a");
  rig.say(error("document_full", "never", 1));
  rig.reopen();
  rig.say(error("stale_attempt", "rekey"));
  expect(rig.refused).toEqual([]);
  rig.reopen();
  rig.say(greetingOfSuccessor(3, 0));
  rig.say(state(3, HI));
  expect([rig.refused.length, rig.sent, rig.text]).toEqual([1, [], "hi"]);
});

test("edits made during the rekey are translated with the rest", () => {
  const rig = rekeying(typed("a"));
  rig.insert(3, "b");
  rig.delete(2, 1);
  rig.say(greetingOfSuccessor(3, 0));
  rig.insert(3, "c");
  expect([rig.sent, rig.text]).toEqual([[], "hibc"]);
  rig.say(state(4, HI, ins(ROOT, [8, "Y"], "y")));
  const expected: [number, Op][] = [
    [1, ins([2, "X"], [9, "B2"], "a")],
    [2, ins([9, "B2"], [10, "B2"], "b")],
    [3, del([9, "B2"])],
    [4, ins([10, "B2"], [11, "B2"], "c")],
  ];
  expect([rig.sent, rig.text]).toEqual([expected, "yhibc"]);
});

test("what is settled but not integrated is not made again", () => {
  const rig = Rig.live();
  typed("a", "b")(rig);
  const own = rig.own(0);
  rig.reopen();
  rig.say(greeting(3, 1, "replay"));
  rig.say(error("stale_epoch", "rekey"));
  rig.reopen();
  rig.say(greetingOfSuccessor(4, 1));
  rig.say(state(4, HI, own));
  expect([rig.acknowledged, rig.sent]).toEqual([0, [[1, ins([3, "A"], [4, "B3"], "b")]]]);
});

test("a barrier waits for what was made again", () => {
  const rig = rekeying((rig) => {
    rig.insert(2, "a");
    rig.step({ type: "sync", nonce: 7 });
  });
  rig.say(greetingOfSuccessor(3, 0));
  rig.say(state(3, HI));
  expect(rig.messages.map(({ type }) => type)).toEqual(["op", "sync"]);
});

test("a barrier does not wait for more than was made again", () => {
  const rig = rekeying((rig) => {
    typed("a", "b")(rig);
    rig.step({ type: "sync", nonce: 7 });
  });
  rig.say(greetingOfSuccessor(4, 2));
  rig.say(state(4, HI, ins([2, "X"], [3, "A"], "ab")));
  expect(rig.messages).toEqual([{ type: "sync", nonce: 7 }]);
});

test("a batch whose deletions span vanished and moved elements stays one message", () => {
  const rig = rekeying((rig) => {
    rig.insert(1, "abc");
    rig.delete(0, 5);
  });
  rig.say(greetingOfSuccessor(1));
  rig.say(state(1, ins(ROOT, [1, "X"], "h")));
  expect(rig.sent).toEqual([
    [1, ins([1, "X"], [2, "B2"], "abc")],
    [2, { type: "batch", ops: [del([1, "X"]), del([2, "B2"], 3)] }],
  ]);
  expect(rig.text).toBe("");
});

describe("a replica that is put away", () => {
  /** Live with `texts` typed, and restored from what it stored; connected again. */
  function reloaded(...texts: string[]): Rig {
    const rig = Rig.live();
    typed(...texts)(rig);
    const again = new Rig(Replica.restore("d", JSON.parse(JSON.stringify(rig.replica.saved()))));
    again.open();
    return again;
  }

  test("comes back with what is pending, which waits for the text that it was made in", () => {
    const rig = reloaded("a", "b");
    expect([rig.text, rig.replica.unacknowledgedCount, rig.replica.nextNumber]).toEqual(["", 2, 3]);
    expect(rig.hello).toMatchObject({ client_id: "A", attempt: 2, last_seen_server_seq: 0, answered: 0 });
    rig.say(greeting(3, 1, "replay"));
    expect(rig.acknowledged).toBe(1);
    expect(rig.messages).toEqual([
      {
        type: "op",
        doc_id: "d",
        client_id: "A",
        client_msg_id: 2,
        answered: 1,
        epoch: 0,
        seen: 0,
        op: ins([3, "A"], [4, "A"], "b"),
      },
    ]);
    rig.say(echo(2, "X", 1, HI));
    expect(rig.text).toBe("hiab");
    rig.say(echo(3, "A", 1, ins([2, "X"], [3, "A"], "a")));
    expect([rig.hangsUp, rig.text]).toEqual([false, "hiab"]);
  });

  test("takes echoes of what it has forgotten for somebody's", () => {
    const first = Rig.twoSent();
    first.say(echo(3, "A", 1, first.own(0)));
    const rig = new Rig(Replica.restore("d", first.replica.saved()));
    rig.open();
    expect(rig.hello.answered).toBe(1);
    rig.say(greeting(3, 1, "replay"));
    rig.say(echo(2, "X", 1, HI));
    rig.say(echo(3, "A", 1, ins([2, "X"], [3, "A"], "a")));
    expect([rig.hangsUp, rig.text, rig.replica.unacknowledgedCount]).toEqual([false, "hiab", 1]);
    rig.say(ack(2, 4));
    expect(rig.replica.unacknowledgedCount).toBe(0);
  });

  test("never mints an id again, even of what it has forgotten and not seen", () => {
    const first = Rig.twoSent();
    first.say(ack(1, 3));
    first.say(ack(2, 4));
    const saved = first.replica.saved();
    expect(saved).toEqual({ identity: identity("A"), attempt: 1, next_number: 3, clock: 4, pending: [] });
    const rig = new Rig(Replica.restore("d", saved));
    rig.insert(0, "c");
    expect([rig.own(0), rig.replica.nextNumber]).toEqual([ins(ROOT, [5, "A"], "c"), 4]);
  });

  test("goes on with a rekey that was decided, with the order in which it waits", () => {
    const first = Rig.twoSent();
    first.say(error("document_full", "never", 1));
    const rig = new Rig(Replica.restore("d", JSON.parse(JSON.stringify(first.replica.saved()))));
    rig.open();
    expect([rig.replica.isRekeying, rig.hello.client_id, rig.hello.replaces?.client_id]).toEqual([true, "B1", "A"]);
    rig.say(greetingOfSuccessor(2, 0));
    rig.say(state(2, HI));
    expect(rig.refused).toEqual([[ins([2, "X"], [3, "A"], "a"), "document_full"]]);
    expect([rig.sent, rig.text]).toEqual([[[1, ins([2, "X"], [3, "B1"], "b")]], "hib"]);
  });

  test.each([
    ["has more pending than was numbered", 2, [1, 2]],
    ["has a gap", 4, [1, 3]],
    ["has a gap at its end", 4, [1, 2]],
  ])("and %s is refused", (_, next_number, numbers) => {
    const pending = numbers.map((number) => [number, HI] as const);
    expect(() =>
      Replica.restore("d", { identity: identity("A"), attempt: 1, next_number, clock: 0, pending }),
    ).toThrow();
  });

  test("and then rolled back becomes a new instance that goes by its elements", () => {
    // It was stored with "a" and "b" pending; then it went on as another one with the same name, which is not stored:
    // message 3 was accepted, and so was "a", but in the place of "b" there is a "c".
    const rig = reloaded("a", "b");
    rig.say(greeting(5, 3, "replay"));
    expect([rig.hangsUp, rig.replica.isRekeying, rig.acknowledged]).toEqual([true, true, 0]);
    expect(rig.replica.saved().rekey).toEqual({ refused: [], is_doubtful: true });
    rig.reopen();
    rig.say(greetingOfSuccessor(5, 3));
    rig.say(state(5, HI, ins([2, "X"], [3, "A"], "a"), ins([3, "A"], [4, "A"], "c")));
    expect([rig.acknowledged, rig.sent, rig.text]).toEqual([1, [[1, ins([3, "A"], [5, "B2"], "b")]], "hiabc"]);
    rig.reopen();
    rig.say(greeting(5, 0, "replay"));
    expect(rig.hangsUp).toBe(false);
  });

  test("and rolled back takes a tombstone for its own element, but not half a run", () => {
    const whole = reloaded("ab");
    whole.say(greeting(5, 3, "replay"));
    whole.reopen();
    whole.say(greetingOfSuccessor(5));
    whole.say(state(5, HI, ins([2, "X"], [3, "A"], "xb"), del([3, "A"])));
    expect([whole.acknowledged, whole.sent]).toEqual([1, []]);
    const half = reloaded("ab");
    half.say(greeting(5, 3, "replay"));
    half.reopen();
    half.say(greetingOfSuccessor(5));
    half.say(state(5, HI, ins([2, "X"], [3, "A"], "a")));
    expect([half.acknowledged, half.sent]).toEqual([0, [[1, ins([2, "X"], [4, "B2"], "ab")]]]);
  });

  test("and rolled back stays doubtful when the rekey itself is refused", () => {
    const rig = reloaded("a");
    rig.say(greeting(5, 3, "replay"));
    rig.reopen();
    rig.say(error("stale_attempt", "rekey"));
    expect(rig.replica.saved().rekey?.is_doubtful).toBe(true);
    rig.reopen();
    rig.say(greetingOfSuccessor(5, 3));
    rig.say(state(5, HI));
    expect([rig.acknowledged, rig.sent.length, rig.text]).toEqual([0, 1, "hia"]);
    expect(rig.replica.saved().rekey).toBeUndefined();
  });
});
