/**
 * Holds an editor's text and a shared text together. Knows documents and changes, neither the DOM nor a view.
 *
 * Positions are UTF-16 units on both sides, and only "\n" breaks lines: a carriage return is a character as any other.
 */

import {
  Annotation,
  ChangeSet,
  type ChangeSpec,
  EditorState,
  type Text,
  Transaction,
  type TransactionSpec,
} from "@codemirror/state";
import type { Delta } from "../src/machine.ts";

/** The side of the client that the binding uses. */
export interface SharedText {
  readonly text: string;
  readonly length: number;
  insert(at: number, text: string): void;
  delete(at: number, len: number): void;
}

/** Marks a transaction that brings to the editor what the shared text has already. */
export const isRemote = Annotation.define<true>();

/** Replaces lone surrogates, which are no characters and cannot travel, by U+FFFD. */
export function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\uFFFD");
}

/** Text from outside, with line breaks as the editor knows them. */
export function withPlainBreaks(text: string): string {
  return text.replace(/\r\n?/g, "\n");
}

function splitsCharacter(doc: Text, at: number): boolean {
  return at > 0 && at < doc.length && /^[\uD800-\uDBFF][\uDC00-\uDFFF]$/.test(doc.sliceString(at - 1, at + 1));
}

/**
 * The changes, made of whole characters only: what would cut a character takes all of it, what would go between its
 * halves goes behind it, and lone surrogates become U+FFFD. Answers the same object if there is nothing to correct.
 */
export function inWholeCharacters(doc: Text, changes: ChangeSet): ChangeSet {
  const corrected: ChangeSpec[] = [];
  let isCorrect = true;
  // At least one unit lies between two changes, so what grows to a whole character does not reach the next.
  changes.iterChanges((fromA, toA, _fromB, _toB, inserted) => {
    const text = inserted.toString();
    const insert = wellFormed(text);
    const to = splitsCharacter(doc, toA) ? toA + 1 : toA;
    let from = fromA;
    if (splitsCharacter(doc, fromA)) {
      from = fromA === toA ? to : fromA - 1;
    }
    isCorrect &&= from === fromA && to === toA && insert === text;
    corrected.push({ from, to, insert });
  });
  return isCorrect ? changes : ChangeSet.of(corrected, doc.length, "\n");
}

/** Keeps whatever the user does to whole characters, before it becomes part of the editor's text. */
export const wholeCharacters = EditorState.transactionFilter.of((transaction) => {
  if (!transaction.docChanged || transaction.annotation(isRemote)) {
    return transaction;
  }
  const { startState } = transaction;
  const changes = inWholeCharacters(startState.doc, transaction.changes);
  if (changes === transaction.changes) {
    return transaction;
  }
  const { effects, scrollIntoView } = transaction;
  return { changes, selection: startState.selection.map(changes, 1), effects, scrollIntoView };
});

/** The changes one after another, each as of after those before it. */
export function deltasOf(changes: ChangeSet): Delta[] {
  const deltas: Delta[] = [];
  changes.iterChanges((fromA, toA, fromB, _toB, inserted) => {
    if (toA > fromA) {
      deltas.push({ type: "delete", at: fromB, len: toA - fromA });
    }
    if (inserted.length > 0) {
      deltas.push({ type: "insert", at: fromB, text: inserted.toString() });
    }
  });
  return deltas;
}

/** What the deltas do, one after another, to a text of `length` UTF-16 units. */
export function changesOf(deltas: readonly Delta[], length: number): ChangeSet {
  let size = length;
  let sets = deltas.map((delta) => {
    const from = delta.at;
    const change = delta.type === "insert" ? { from, insert: delta.text } : { from, to: from + delta.len };
    const set = ChangeSet.of(change, size, "\n");
    size = set.newLength;
    return set;
  });
  // Neighbours first: one after another would walk over everything composed so far each time.
  while (sets.length > 1) {
    sets = sets.flatMap((set, at) => {
      const next = sets[at + 1];
      return at % 2 === 1 ? [] : [next === undefined ? set : set.compose(next)];
    });
  }
  return sets[0] ?? ChangeSet.empty(length);
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit < 0xe000;

/** One change that makes `to` out of `from`, as small as one change can be, or nothing if they are equal. */
export function difference(from: string, to: string): ChangeSet | undefined {
  if (from === to) {
    return undefined;
  }
  const shorter = Math.min(from.length, to.length);
  let head = 0;
  while (head < shorter && from.charCodeAt(head) === to.charCodeAt(head)) {
    head += 1;
  }
  // Not between the halves of characters that share one of them.
  head -= isHigh(from.charCodeAt(head - 1)) ? 1 : 0;
  let tail = 0;
  while (tail < shorter - head && from.charCodeAt(from.length - 1 - tail) === to.charCodeAt(to.length - 1 - tail)) {
    tail += 1;
  }
  tail -= isLow(from.charCodeAt(from.length - tail)) ? 1 : 0;
  const change = { from: head, to: from.length - tail, insert: to.slice(head, to.length - tail) };
  return ChangeSet.of(change, from.length, "\n");
}

/**
 * Carries changes both ways. The editor may lag behind (while an input method composes, its line must not change):
 * what it lacks is kept as one change set, and what the user does meanwhile is mapped over it, so nothing is guessed.
 */
export class Binding {
  readonly #shared: SharedText;
  /** From the editor's text to the shared one. */
  #lacking: ChangeSet | undefined;

  constructor(shared: SharedText) {
    this.#shared = shared;
  }

  /** What the shared text has and the editor has not yet. */
  get lacking(): ChangeSet | undefined {
    return this.#lacking;
  }

  /** Does to the shared text what the user did to the editor's. */
  forward(changes: ChangeSet): void {
    const lacking = this.#lacking;
    this.#lacking = lacking?.map(changes, true);
    for (const delta of deltasOf(lacking === undefined ? changes : changes.map(lacking))) {
      if (delta.type === "insert") {
        this.#shared.insert(delta.at, delta.text);
      } else {
        this.#shared.delete(delta.at, delta.len);
      }
    }
  }

  /** Adds what happened to the shared text to what the editor, whose text is `doc`, lacks. */
  receive(deltas: readonly Delta[], doc: Text): void {
    const changes = changesOf(deltas, this.#lacking?.newLength ?? doc.length);
    this.#lacking = this.#lacking?.compose(changes) ?? changes;
  }

  /** The transaction that brings the editor level; the caller dispatches it at once. */
  takeLacking(): TransactionSpec | undefined {
    const changes = this.#lacking;
    this.#lacking = undefined;
    return changes && remote(changes);
  }

  /** Whether the lengths agree: what can be asked after every change. */
  isLevel(doc: Text): boolean {
    return (this.#lacking?.newLength ?? doc.length) === this.#shared.length;
  }

  /** The transaction that makes the editor's text the shared one, whatever came between them; nothing if it is. */
  repair(doc: Text): TransactionSpec | undefined {
    this.#lacking = undefined;
    const changes = difference(doc.toString(), this.#shared.text);
    return changes && remote(changes);
  }
}

function remote(changes: ChangeSet): TransactionSpec {
  // Others' changes are not the user's to undo, and must not be corrected either.
  return { changes, annotations: [isRemote.of(true), Transaction.addToHistory.of(false)], filter: false };
}
