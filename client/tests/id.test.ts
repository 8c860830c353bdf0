import fc from "fast-check";
import { expect, test } from "vitest";
import { compareNames } from "../src/id.ts";
import type { ElementId } from "../src/op.ts";
import { IdRanges } from "../src/ranges.ts";
import { isWellFormed, scalarCount, unitCount } from "../src/text.ts";

const text = fc.string({ unit: "binary" });

test("names are compared by the bytes of their UTF-8", () => {
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(Math.sign(compareNames(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
  expect(compareNames("\uffee", "\u{1f600}")).toBeLessThan(0);
});

test("scalar values are counted as iteration does", () => {
  fc.assert(
    fc.property(text, fc.nat({ max: 12 }), (text, count) => {
      expect(scalarCount(text)).toBe([...text].length);
      expect(text.slice(0, unitCount(text, count))).toBe([...text].slice(0, count).join(""));
      expect(isWellFormed(text)).toBe(true);
      expect(isWellFormed(`${text}\ud83d${text.replace(/^[\udc00-\udfff]/, "")}`)).toBe(false);
    }),
  );
});

test("ranges are a set of ids", () => {
  const step = fc.record({
    isAdded: fc.boolean(),
    first: fc.integer({ min: 1, max: 40 }),
    len: fc.integer({ min: 1, max: 6 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const ranges = new IdRanges();
      const set = new Set<number>();
      for (const { isAdded, first, len } of steps) {
        const ids = Array.from({ length: len }, (_, distance) => first + distance);
        const affected = ids.filter((lamport) => set.has(lamport) !== isAdded);
        for (const lamport of affected) isAdded ? set.add(lamport) : set.delete(lamport);
        const spread = ([[lamport], len]: [ElementId, number]) =>
          Array.from({ length: len }, (_, distance) => lamport + distance);
        if (isAdded) expect(ranges.add([first, "a"], len)).toBe(affected.length);
        else expect(ranges.take([first, "a"], len).flatMap(spread)).toEqual(affected);
        const held = ranges.all();
        expect(held.flatMap(spread)).toEqual([...set].sort((a, b) => a - b));
        expect(ranges.count).toBe(set.size);
        for (const [slot, [[lamport], len]] of held.entries())
          expect(held[slot + 1]?.[0][0] ?? Number.POSITIVE_INFINITY).toBeGreaterThan(lamport + len);
      }
    }),
  );
});

test("ids beyond the largest are none", () => {
  const ranges = new IdRanges();
  expect(ranges.add([Number.MAX_SAFE_INTEGER, "a"], 2 ** 32)).toBe(1);
});
