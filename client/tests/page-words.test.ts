import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { nameIn, pathOf, randomName, whatIsWrong } from "../page/names.ts";
import { connectionWords, endWords, refusalWords, savingWords } from "../page/words.ts";

describe("names", () => {
  test("the rule of the protocol, with what is wrong in words", () => {
    for (const name of ["a", "A-Z.a_z~0:9@-", "...", "x".repeat(128)]) {
      expect(whatIsWrong(name)).toBeUndefined();
    }
    expect(whatIsWrong("")).toContain("needs a name");
    expect(whatIsWrong(".")).toContain("dots");
    expect(whatIsWrong("..")).toContain("dots");
    expect(whatIsWrong("a b")).toContain("a space");
    expect(whatIsWrong("a/b")).toContain("“/”");
    expect(whatIsWrong("a👍")).toContain("“👍”");
    expect(whatIsWrong("x".repeat(129))).toContain("129");
  });

  test("a name survives its address", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: "binary" }), (name) => {
        expect(nameIn(pathOf(name))).toBe(name);
      }),
    );
    expect(nameIn("/")).toBeUndefined();
    expect(nameIn("/d/%zz")).toBe("%zz");
  });

  test("random names are names, and differ", () => {
    const names = Array.from({ length: 200 }, randomName);
    expect(names.map(whatIsWrong).every((wrong) => wrong === undefined)).toBe(true);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("words", () => {
  test("all is saved only when nothing is unsaved and the connection lives", () => {
    const all = "All changes saved";
    const live = { state: "live" } as const;
    expect(savingWords({ status: live, unsaved: 0, durability: "disk", isStored: true })).toBe(all);
    expect(savingWords({ status: live, unsaved: 1, durability: "disk", isStored: true })).toBe("1 unsaved edit");
    expect(savingWords({ status: live, unsaved: 3, durability: "disk", isStored: false })).toBe("3 unsaved edits");
    for (const state of ["offline", "connecting"] as const) {
      expect(savingWords({ status: { state }, unsaved: 0, durability: "disk", isStored: true })).not.toBe(all);
      expect(savingWords({ status: { state }, unsaved: 3, durability: "disk", isStored: true })).toBe(
        "3 edits kept in this browser",
      );
      expect(savingWords({ status: { state }, unsaved: 1, durability: "disk", isStored: false })).toBe(
        "1 edit not kept over a reload",
      );
    }
  });

  test("what is only in the server's memory is not called saved", () => {
    const words = savingWords({ status: { state: "live" }, unsaved: 0, durability: "memory", isStored: true });
    expect(words).toContain("memory");
    expect(words).not.toContain("saved");
  });

  test("states, ends and refusals have words, unknown ones their code", () => {
    expect(connectionWords({ state: "ended", reason: "taken_over" })).toBe("Ended");
    expect(endWords("taken_over")).toContain("somewhere else");
    expect(endWords("no_such_code")).toContain("no_such_code");
    expect(refusalWords("document_full")).toContain("full");
    expect(refusalWords("no_such_code")).toContain("no_such_code");
  });
});
