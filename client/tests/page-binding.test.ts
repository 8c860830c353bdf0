import { history, redo, undo } from "@codemirror/commands";
import { ChangeSet, EditorState, Text, type TransactionSpec } from "@codemirror/state";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  Binding,
  changesOf,
  deltasOf,
  difference,
  inWholeCharacters,
  isRemote,
  type SharedText,
  wellFormed,
  wholeCharacters,
  withPlainBreaks,
} from "../page/binding.ts";
import type { Delta } from "../src/machine.ts";

const LONE = /\p{Surrogate}/u;

/** A shared text that is a string, and as strict about positions as the client. */
class SharedString implements SharedText {
  text = "";
  readonly calls: Delta[] = [];

  get length(): number {
    return this.text.length;
  }

  insert(at: number, text: string): void {
    this.calls.push({ type: "insert", at, text });
    this.apply({ type: "insert", at, text });
  }

  delete(at: number, len: number): void {
    this.calls.push({ type: "delete", at, len });
    this.apply({ type: "delete", at, len });
  }

  apply(delta: Delta): void {
    const end = delta.type === "insert" ? delta.at : delta.at + delta.len;
    if (end > this.text.length || (delta.type === "delete" && delta.len < 1)) {
      throw new RangeError(`${delta.at} to ${end} in a text of ${this.text.length}`);
    }
    this.text = this.text.slice(0, delta.at) + (delta.type === "insert" ? delta.text : "") + this.text.slice(end);
    if (LONE.test(this.text)) {
      throw new RangeError("half a character");
    }
  }
}

/** An editor without a view, bound as the page binds its own. */
class Pad {
  readonly shared = new SharedString();
  readonly binding = new Binding(this.shared);
  state = EditorState.create({ extensions: [EditorState.lineSeparator.of("\n"), wholeCharacters, history()] });

  constructor(text = "") {
    if (text !== "") {
      this.remote([{ type: "insert", at: 0, text }]);
      this.level();
    }
  }

  dispatch(spec: TransactionSpec): void {
    const transaction = this.state.update(spec);
    this.state = transaction.state;
    if (transaction.docChanged && !transaction.annotation(isRemote)) {
      this.binding.forward(transaction.changes);
    }
  }

  remote(deltas: readonly Delta[]): void {
    for (const delta of deltas) {
      this.shared.apply(delta);
    }
    this.binding.receive(deltas, this.state.doc);
  }

  level(): void {
    const spec = this.binding.takeLacking();
    if (spec !== undefined) {
      this.dispatch(spec);
    }
  }

  run(command: typeof undo): boolean {
    return command({
      state: this.state,
      dispatch: (transaction) => {
        this.state = transaction.state;
        this.binding.forward(transaction.changes);
      },
    });
  }

  get text(): string {
    return this.state.doc.toString();
  }
}

const character = fc.constantFrom(
  "a",
  "b",
  " ",
  "\n",
  "\r",
  "\r\n",
  "é",
  "👍",
  "𝒳",
  "\u{1F468}\u200D\u{1F469}",
  "\u0000",
);
const words = fc.array(character, { maxLength: 6 }).map((parts) => parts.join(""));
/** Also what is no text: halves of characters. */
const raw = fc
  .array(fc.oneof(character, fc.constantFrom("\uD83D", "\uDC4D")), { maxLength: 6 })
  .map((parts) => parts.join(""));

const step = fc.oneof(
  fc.record({ kind: fc.constant("local" as const), a: fc.nat(), b: fc.nat(), text: raw, more: raw }),
  fc.record({ kind: fc.constant("remote" as const), a: fc.nat(), b: fc.nat(), text: words }),
  fc.constantFrom({ kind: "level" as const }, { kind: "undo" as const }, { kind: "redo" as const }),
);

function wholeAt(text: string, at: number): number {
  return LONE.test(text.slice(0, at)) ? at - 1 : at;
}

function range(length: number, a: number, b: number): [number, number] {
  const [x, y] = [a % (length + 1), b % (length + 1)];
  return [Math.min(x, y), Math.max(x, y)];
}

function localStep(pad: Pad, { a, b, text, more }: { a: number; b: number; text: string; more: string }): void {
  const [from, to] = range(pad.state.doc.length, a, b);
  const end = pad.state.doc.length;
  pad.dispatch({
    changes: [{ from, to, insert: text }, ...(to < end ? [{ from: to + 1, to: end, insert: more }] : [])],
  });
}

function remoteStep(pad: Pad, { a, b, text }: { a: number; b: number; text: string }): void {
  const [x, y] = range(pad.shared.length, a, b);
  const [from, to] = [wholeAt(pad.shared.text, x), wholeAt(pad.shared.text, y)];
  const deltas: Delta[] = [];
  if (to > from) {
    deltas.push({ type: "delete", at: from, len: to - from });
  }
  if (text !== "") {
    deltas.push({ type: "insert", at: from, text }, { type: "insert", at: from, text: "." });
  }
  pad.remote(deltas);
}

describe("binding", () => {
  test("any interleaving of local and remote changes, undo, redo and delay ends in one text", () => {
    fc.assert(
      fc.property(words, fc.array(step, { maxLength: 40 }), (start, steps) => {
        const pad = new Pad(start);
        for (const each of steps) {
          if (each.kind === "local") {
            localStep(pad, each);
          } else if (each.kind === "remote") {
            remoteStep(pad, each);
          } else if (each.kind === "level") {
            pad.level();
            expect(pad.text).toBe(pad.shared.text);
          } else {
            pad.run(each.kind === "undo" ? undo : redo);
          }
          expect(pad.binding.isLevel(pad.state.doc)).toBe(true);
        }
        pad.level();
        expect(pad.text).toBe(pad.shared.text);
        expect(pad.text).not.toMatch(LONE);
      }),
      { numRuns: 1000 },
    );
  });

  test("what is typed while the editor lacks something goes where the typist saw it", () => {
    const pad = new Pad("one two");
    pad.remote([{ type: "insert", at: 0, text: "zero " }]);
    pad.dispatch({ changes: { from: 3, insert: "!" } });
    expect(pad.shared.text).toBe("zero one! two");
    expect(pad.text).toBe("one! two");
    pad.level();
    expect(pad.text).toBe("zero one! two");
  });

  test("undo takes back own changes only, wherever others have moved them", () => {
    const pad = new Pad("base");
    pad.dispatch({ changes: { from: 4, insert: " mine" } });
    pad.remote([{ type: "insert", at: 0, text: "theirs " }]);
    pad.level();
    pad.run(undo);
    expect(pad.shared.text).toBe("theirs base");
    pad.run(redo);
    expect(pad.shared.text).toBe("theirs base mine");
    pad.run(undo);
    expect(pad.run(undo)).toBe(false);
    expect(pad.text).toBe("theirs base");
  });

  test("a replacement is one deletion and one insertion, a large paste one insertion", () => {
    const pad = new Pad("a cat");
    pad.dispatch({ changes: { from: 2, to: 5, insert: "dog" } });
    const large = "line\n".repeat(20_000);
    pad.dispatch({ changes: { from: 0, insert: large } });
    expect(pad.shared.calls).toEqual([
      { type: "delete", at: 2, len: 3 },
      { type: "insert", at: 2, text: "dog" },
      { type: "insert", at: 0, text: large },
    ]);
  });

  test("carriage returns are characters: they count, stay, and break no line", () => {
    const pad = new Pad("a\r\nb\rc");
    expect(pad.state.doc.lines).toBe(2);
    pad.dispatch({ changes: { from: 5, insert: "x" } });
    expect(pad.shared.text).toBe("a\r\nb\rxc");
  });

  test("a text that came apart is repaired, and one that did not is left alone", () => {
    const pad = new Pad("equal");
    expect(pad.binding.repair(pad.state.doc)).toBeUndefined();
    pad.shared.text = "eq\r👍l";
    expect(pad.binding.isLevel(pad.state.doc)).toBe(false);
    pad.dispatch(pad.binding.repair(pad.state.doc) ?? {});
    expect(pad.text).toBe("eq\r👍l");
    expect(pad.shared.calls).toEqual([]);
  });
});

describe("whole characters", () => {
  const corrected = (text: string, from: number, to: number, insert = ""): string => {
    const doc = Text.of([text]);
    const changes = ChangeSet.of({ from, to, insert }, text.length, "\n");
    return inWholeCharacters(doc, changes).apply(doc).toString();
  };

  test("what would cut a character takes all of it", () => {
    expect(corrected("a👍b", 2, 3)).toBe("ab");
    expect(corrected("a👍b", 1, 2)).toBe("ab");
    expect(corrected("a👍👍b", 2, 4, "x")).toBe("axb");
  });

  test("what would go between the halves goes behind the character", () => {
    expect(corrected("a👍b", 2, 2, "x")).toBe("a👍xb");
  });

  test("lone surrogates become U+FFFD, pairs stay", () => {
    expect(wellFormed("\uD83Da\uDC4D👍")).toBe("\uFFFDa\uFFFD👍");
    expect(corrected("ab", 1, 1, "\r\n\uD83D\r")).toBe("a\r\n\uFFFD\rb");
  });

  test("what is whole already is the same object", () => {
    const changes = ChangeSet.of({ from: 1, to: 3, insert: "👍" }, 4, "\n");
    expect(inWholeCharacters(Text.of(["a👍b"]), changes)).toBe(changes);
  });
});

describe("changes and deltas", () => {
  test("deltas do to the editor's text, one after another, what they do to a string", () => {
    fc.assert(
      fc.property(words, fc.array(fc.tuple(fc.nat(), fc.nat(), words), { maxLength: 9 }), (start, edits) => {
        const shared = new SharedString();
        shared.text = start;
        const deltas: Delta[] = [];
        for (const [a, b, text] of edits) {
          const [x, y] = range(shared.length, a, b).map((at) => wholeAt(shared.text, at));
          const at = x ?? 0;
          const len = (y ?? 0) - at;
          const delta: Delta = text === "" && len > 0 ? { type: "delete", at, len } : { type: "insert", at, text };
          deltas.push(delta);
          shared.apply(delta);
        }
        const changes = changesOf(deltas, start.length);
        expect(changes.apply(Text.of(start.split("\n"))).toString()).toBe(shared.text);
        const again = new SharedString();
        again.text = start;
        for (const delta of deltasOf(changes)) {
          again.apply(delta);
        }
        expect(again.text).toBe(shared.text);
      }),
    );
  });

  test("a difference turns one text into the other, in whole characters, and is no larger than what differs", () => {
    const some = fc.constantFrom("", "a", "\n", "\r\n", "👍", "👎", "\u{2044D}", "a👍");
    fc.assert(
      fc.property(some, some, some, some, (head, tail, before, after) => {
        const [from, to] = [head + before + tail, head + after + tail];
        const changes = difference(from, to);
        expect(changes === undefined).toBe(from === to);
        expect((changes ?? ChangeSet.empty(from.length)).apply(Text.of(from.split("\n"))).toString()).toBe(to);
        changes?.iterChanges((fromA, toA, _fromB, _toB, inserted) => {
          expect(toA - fromA).toBeLessThanOrEqual(before.length);
          expect(inserted.length).toBeLessThanOrEqual(after.length);
          expect(from.slice(fromA, toA)).not.toMatch(LONE);
          expect(inserted.toString()).not.toMatch(LONE);
        });
      }),
      { numRuns: 1000 },
    );
  });

  test("text from outside breaks lines in one way only", () => {
    expect(withPlainBreaks("a\r\nb\rc\nd\r\r\n")).toBe("a\nb\nc\nd\n\n");
  });
});
