import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Document, diff } from "../src/document.ts";
import type { Delta } from "../src/machine.ts";
import type { Op } from "../src/op.ts";
import { Rga } from "../src/rga/index.ts";
import { applied } from "./support/applied.ts";
import { choices, play, SMALLEST } from "./support/histories.ts";
import { del, ins, ROOT } from "./support/rig.ts";

function documentOf(ops: readonly Op[], small = false): Document {
  const document = new Document(small ? new Rga(SMALLEST) : undefined);
  for (const op of ops) document.integrate(op, []);
  return document;
}

/** Deltas that give the text, and are neither empty nor adjacent to another of their kind. */
function expectExact(before: Document, after: Document): Delta[] {
  const deltas = diff(before, after);
  expect(deltas.reduce(applied, before.text)).toBe(after.text);
  let end = -1;
  for (const delta of deltas) {
    expect(delta.type === "insert" ? delta.text.length : delta.len).toBeGreaterThan(0);
    expect(delta.at).toBeGreaterThanOrEqual(delta.type === "insert" ? end : end + 1);
    end = delta.at + (delta.type === "insert" ? delta.text.length : 0);
  }
  return deltas;
}

describe("the difference of two documents", () => {
  test("turns the text of one into that of the other, whatever each of them holds", () => {
    fc.assert(
      fc.property(choices, fc.array(fc.boolean()), fc.array(fc.boolean()), (choices, left, right) => {
        const ops = play(choices);
        const chosen = (picks: boolean[]) => ops.filter((_, index) => picks[index] ?? true);
        expectExact(documentOf(chosen(left)), documentOf(chosen(right), true));
      }),
      { numRuns: 300 },
    );
  });

  test("holds for documents that use the same ids for something else, or in another order", () => {
    fc.assert(
      fc.property(choices, choices, (left, right) => void expectExact(documentOf(play(left)), documentOf(play(right)))),
    );
  });

  const hello = ins(ROOT, [1, "X"], "hello");

  test("leaves alone what both hold", () => {
    const after = documentOf([hello, ins([2, "X"], [6, "Y"], "--"), del([4, "X"])]);
    expect(expectExact(documentOf([hello]), after)).toEqual([
      { type: "insert", at: 2, text: "--" },
      { type: "delete", at: 5, len: 1 },
    ]);
    expect(expectExact(after, after)).toEqual([]);
  });

  test("does not touch what came back under other ids", () => {
    const before = documentOf([hello, ins([5, "X"], [6, "A"], " you")]);
    expect(expectExact(before, documentOf([hello, ins([5, "X"], [6, "B"], " you")]))).toEqual([]);
    const more = documentOf([hello, ins([5, "X"], [6, "B"], " you"), ins([9, "B"], [10, "C"], "!")]);
    expect(expectExact(before, more)).toEqual([{ type: "insert", at: 9, text: "!" }]);
  });

  test("never cuts a surrogate pair", () => {
    const text = (value: string, name: string) => documentOf([ins(ROOT, [1, name], value)]);
    expect(expectExact(text("\u{1f600}", "A"), text("\u{1f601}", "B"))).toEqual([
      { type: "delete", at: 0, len: 2 },
      { type: "insert", at: 0, text: "\u{1f601}" },
    ]);
    // The same second half behind another first half.
    expectExact(text("\u{1f600}", "A"), text("\u{1fa00}", "B"));
  });
});
