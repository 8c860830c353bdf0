/** The strict reader: at most what `JSON.parse` reads, and not all of it. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Json, parse } from "../src/json.ts";

describe("the JSON reader", () => {
  const plain = (json: Json): unknown =>
    json instanceof Map
      ? Object.fromEntries([...json].map(([key, value]) => [key, plain(value)]))
      : Array.isArray(json)
        ? json.map(plain)
        : json;

  test("reads what JSON.parse reads", () => {
    const value = fc
      .jsonValue({ maxDepth: 5, noUnicodeString: false })
      .map((value) =>
        JSON.parse(
          JSON.stringify(value, (_, inner) =>
            typeof inner === "number" ? Math.min(Math.trunc(Math.abs(inner)), 2 ** 53 - 1) : inner,
          ),
        ),
      );
    fc.assert(
      fc.property(value, fc.constantFrom("", " ", "\t\n\r "), (value, indent) => {
        expect(plain(parse(`${indent}${JSON.stringify(value, undefined, indent)}${indent}`))).toEqual(value);
      }),
    );
  });

  test("refuses what JSON.parse refuses", () => {
    const piece = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ",",
      ":",
      '"',
      "\\",
      "a",
      "u",
      "0",
      "1",
      "-",
      ".",
      "e",
      "+",
      " ",
      "\f",
      "true",
      "null",
      "\n",
      '"x"',
      "\\u0041",
      "\\ud83d",
      "\\ude00",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const text = pieces.join("");
        let isJson = true;
        try {
          parse(text);
        } catch {
          isJson = false;
        }
        if (isJson) JSON.parse(text);
      }),
      { numRuns: 3000 },
    );
  });

  test.each(["__proto__", "constructor", "toString"])("takes %s for a key like any other", (key) => {
    expect((parse(`{"${key}":{"${key}":1}}`) as Map<string, Json>).get(key)).toEqual(new Map([[key, 1]]));
  });

  const nested = (levels: number) => `${"[".repeat(levels)}${"]".repeat(levels)}`;
  const keys = (count: number) => `{${Array.from({ length: count }, (_, index) => `"${index}":0`).join()}}`;
  test.each([
    "1e308",
    "-0",
    "0e999",
    "1e-999",
    nested(16),
    keys(64),
    '{"a":{"a":1}}',
    '"\\ud83d\\ude00"',
    '"\u007f\u2028"',
    '"\\\\"',
    "9007199254740991",
  ])("reads %s", (text) => {
    parse(text);
  });

  test.each([
    "",
    " ",
    "\ufeff1",
    "1 2",
    "01",
    "+1",
    ".5",
    "1.",
    "1e",
    "--1",
    "- 1",
    "1e400",
    "-1e400",
    `1${"0".repeat(400)}`,
    "NaN",
    "nul",
    "True",
    "[1,]",
    "[,1]",
    "{,}",
    '{"a"}',
    '{"a":}',
    "{a:1}",
    "{'a':1}",
    '{"a":1,}',
    '{"a":1,"a":1}',
    '{"a":1,"\\u0061":1}',
    nested(17),
    keys(65),
    '"',
    '"\\"',
    '"\\x"',
    '"\\u12"',
    '"\\ud83d"',
    '"\\ude00\\ud83d"',
    '"\\ud83dx"',
    '"\t"',
    '"\u0000"',
    "\f1",
    "\u00a01",
    "[1",
    '{"a":1',
    "]",
  ])("refuses %s", (text) => {
    expect(() => parse(text)).toThrow(SyntaxError);
  });

  test.each(["1.0", "1e3", "-1", "-0", "0.5", "9007199254740992", "10e-1"])(
    "does not take %s for an integer",
    (text) => {
      expect(parse(text)).toBeNaN();
    },
  );
});
