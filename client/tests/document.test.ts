import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Document } from "../src/document.ts";
import { precedes } from "../src/id.ts";
import type { Delta } from "../src/machine.ts";
import type { Run } from "../src/message.ts";
import type { Edit, ElementId, Op } from "../src/op.ts";
import { Rga } from "../src/rga/index.ts";
import { applied } from "./support/applied.ts";
import { checkDocument } from "./support/check.ts";
import { arrivals, choices, order, play, SMALLEST } from "./support/histories.ts";
import { elementsOf, Spec } from "./support/spec.ts";

const sizes = fc.constantFrom(SMALLEST, { items: 4, units: 5 }, { items: 32, units: 512 });

describe("a document", () => {
  test("equals the definition under any order of delivery, duplicates included", () => {
    fc.assert(
      fc.property(choices, order, sizes, (choices, order, sizes) => {
        const document = new Document(new Rga(sizes));
        const spec = new Spec();
        let text = "";
        for (const op of arrivals(play(choices), order)) {
          const deltas: Delta[] = [];
          document.integrate(op, deltas);
          spec.integrate(op);
          checkDocument(document);
          expect(elementsOf(document.runs())).toEqual(spec.elements());
          text = deltas.reduce(applied, text);
          expect(text).toBe(document.text);
          expect(document.length).toBe(text.length);
        }
        expect(document.waiting).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test("is built again from its state, waiting edits included, and goes on alike", () => {
    fc.assert(
      fc.property(choices, order, fc.nat({ max: 30 }), sizes, (choices, order, cut, sizes) => {
        const ops = arrivals(play(choices), order);
        const document = new Document();
        for (const op of ops.slice(0, cut)) document.integrate(op, []);
        const again = Document.fromState(document.runs(), document.waiting, sizes);
        if (!again) throw new Error("refused");
        checkDocument(again);
        for (const op of [undefined, ...ops.slice(cut)]) {
          const deltas: [Delta[], Delta[]] = [[], []];
          if (op) document.integrate(op, deltas[0]);
          if (op) again.integrate(op, deltas[1]);
          expect(deltas[1]).toEqual(deltas[0]);
          expect([again.runs(), again.waiting, again.highest]).toEqual([
            document.runs(),
            document.waiting,
            document.highest,
          ]);
        }
      }),
    );
  });

  test("finds ids and positions as counting does", () => {
    fc.assert(
      fc.property(choices, sizes, (choices, sizes) => {
        const document = new Document(new Rga(sizes));
        for (const op of play(choices)) document.integrate(op, []);
        const elements = elementsOf(document.runs());
        let at = 0;
        let last: ElementId = [0, "root"];
        let visible: ElementId = last;
        for (const [id, value] of elements) {
          expect(document.rga.predecessor(id)).toEqual(last);
          expect(document.rga.value(id)).toBe(value ?? "");
          last = id;
          if (value === undefined) continue;
          expect(document.rga.isPosition(at)).toBe(true);
          expect(document.rga.idBefore(at)).toEqual(visible);
          if (value.length === 2) expect(document.rga.isPosition(at + 1)).toBe(false);
          visible = id;
          at += value.length;
        }
        expect(at).toBe(document.length);
        const ids = document.rga
          .idsAt(0, at)
          .flatMap(([[lamport, name], len]) => Array.from({ length: len }, (_, i) => [lamport + i, name]));
        expect(ids).toEqual(elements.filter(([, value]) => value !== undefined).map(([id]) => id));
      }),
    );
  });

  const id = (lamport: number, name = "a"): ElementId => [lamport, name];
  const ins = (parent_id: ElementId, first: ElementId, value: string): Op => ({
    type: "ins",
    parent_id,
    id: first,
    value,
  });
  const root = id(0, "root");
  const made = (...ops: Op[]) => {
    const document = new Document();
    for (const op of ops) document.integrate(op, []);
    return document;
  };

  test("puts the newest sibling first, and of equally new ones the smaller name by UTF-8", () => {
    expect(made(ins(root, id(1), "A"), ins(root, id(1, "b"), "B"), ins(root, id(2), "C")).text).toBe("CAB");
    expect(made(ins(root, id(1, "\u{1f600}"), "2"), ins(root, id(1, "\uffee"), "1")).text).toBe("12");
  });

  test("skips tombstones like elements", () => {
    const ops = [
      ins(root, id(5), "x"),
      { type: "del", id: id(5) } as Op,
      ins(root, id(6, "b"), "y"),
      ins(id(5), id(7), "z"),
    ];
    expect(made(...ops, ins(root, id(3, "c"), "w")).text).toBe("yzw");
  });

  test("reports a deletion of several segments in one place once", () => {
    const document = made(ins(root, id(1), "abcd"), ins(id(2), id(9, "b"), "X"));
    const deltas: Delta[] = [];
    document.integrate({ type: "del", id: id(1), len: 4 }, deltas);
    expect(deltas).toEqual([
      { type: "delete", at: 0, len: 2 },
      { type: "delete", at: 1, len: 2 },
    ]);
    document.integrate({ type: "del", id: id(9, "b") }, deltas);
    expect(document.runs()).toEqual([
      [id(1), 2],
      [id(9, "b"), 1],
      [id(3), 2],
    ]);
  });

  test("reports what vanishes in one place as one range, however it is cut", () => {
    const document = made(ins(root, id(1), "abc"), { type: "del", id: id(2) });
    const deltas: Delta[] = [];
    document.integrate({ type: "del", id: id(1), len: 3 }, deltas);
    expect(deltas).toEqual([{ type: "delete", at: 0, len: 2 }]);
  });

  test("puts the rest of a run behind the part that is there", () => {
    const document = made(ins(root, id(1), "ab"), ins(root, id(9, "b"), "z"));
    document.integrate(ins(root, id(1), "abcd"), []);
    expect(document.text).toBe("zabcd");
    const inside = made(ins(root, id(1), "abcd"), ins(id(2), id(9, "b"), "z"));
    inside.integrate(ins(root, id(1), "abcdef"), []);
    expect(inside.runs()).toEqual([
      [id(1), "ab"],
      [id(9, "b"), "z"],
      [id(3), "cdef"],
    ]);
  });

  test("accepts exactly the orders that insertions can lead to", () => {
    const run = fc.record({
      lamport: fc.integer({ min: 1, max: 6 }),
      name: fc.constantFrom("a", "b", "c"),
      len: fc.integer({ min: 1, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(run, { maxLength: 5 }), (choices) => {
        const runs = choices.map(({ lamport, name, len }): Run => [id(lamport, name), len]);
        const order = elementsOf(runs).map(([element]) => element);
        // The nearest element on the left that does not precede must be older: it is the parent.
        const isExplained = order.every(([lamport, name], index) => {
          const parent = order.slice(0, index).findLast((other) => !precedes(...other, lamport, name));
          return !parent || parent[0] < lamport;
        });
        const isUnique = new Set(order.map(String)).size === order.length;
        expect(Document.fromState(runs, []) !== undefined).toBe(isExplained && isUnique);
      }),
      { numRuns: 3000 },
    );
  });

  test("orders what waits by the replica that is missed, in UTF-8, then by id", () => {
    const waiting: Edit[] = [
      { type: "ins", parent_id: id(3, "\uffee"), id: id(4, "z"), value: "1" },
      { type: "ins", parent_id: id(3, "\uffee"), id: id(5, "a"), value: "2" },
      { type: "ins", parent_id: id(9, "\uffee"), id: id(10, "a"), value: "3" },
      { type: "ins", parent_id: id(1, "\u{1f600}"), id: id(2, "a"), value: "4" },
      { type: "del", id: id(7, "a"), len: 3 },
      { type: "del", id: id(2, "b") },
    ];
    const document = made(...[...waiting].reverse(), ...waiting);
    expect(document.waiting).toEqual(waiting);
    expect(document.waitingCount).toBe(8);
    expect(document.highest).toBe(10);
  });

  test("keeps four billion deletions ahead in no more than a range", () => {
    const max = 2 ** 32 - 1;
    const document = made({ type: "del", id: id(1), len: max }, { type: "del", id: id(2 ** 32), len: max });
    expect(document.waiting).toEqual([
      { type: "del", id: id(1), len: max },
      { type: "del", id: id(2 ** 32), len: max },
    ]);
    document.integrate(ins(root, id(5), "abc"), []);
    expect(document.text).toBe("");
    expect(document.waitingCount).toBe(2 * max - 3);
  });

  test("leaves out ids beyond the largest", () => {
    const document = made(ins(root, id(Number.MAX_SAFE_INTEGER - 1), "abc"));
    expect(document.text).toBe("ab");
    expect(document.localInsert(0, 0, "x", "b")).toBeUndefined();
    expect(made().localInsert(Number.MAX_SAFE_INTEGER - 2, 0, "xyz", "b")).toBeUndefined();
    expect(made().localInsert(Number.MAX_SAFE_INTEGER - 2, 0, "xy", "b")?.id).toEqual([
      Number.MAX_SAFE_INTEGER - 1,
      "b",
    ]);
  });

  test.each<[string, Run[], Edit[]]>([
    [
      "an id that occurs twice",
      [
        [id(1), "ab"],
        [id(2), "c"],
      ],
      [],
    ],
    [
      "an order that no insertion leads to",
      [
        [id(1, "b"), "x"],
        [id(1), "a"],
      ],
      [],
    ],
    ["an id beyond the largest", [[id(Number.MAX_SAFE_INTEGER), "ab"]], []],
    ["the root", [[id(0), "a"]], []],
    ["an empty run", [[id(1), ""]], []],
    ["a waiting insertion whose parent is there", [[id(1), "a"]], [ins(id(1), id(2), "b") as Edit]],
    ["a waiting deletion of what is there", [[id(1), 1]], [{ type: "del", id: id(1) }]],
    [
      "a deletion that waits twice",
      [],
      [
        { type: "del", id: id(1), len: 2 },
        { type: "del", id: id(2) },
      ],
    ],
  ])("refuses a state with %s", (_, runs, waiting) => {
    expect(Document.fromState(runs, waiting)).toBeUndefined();
  });
});
