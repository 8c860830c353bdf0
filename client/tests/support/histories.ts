/** Random histories of a document: what several replicas type, each knowing only a part of the others' edits. */

import fc from "fast-check";
import { Document } from "../../src/document.ts";
import { oneOrBatch } from "../../src/edit.ts";
import type { Op } from "../../src/op.ts";
import { Rga } from "../../src/rga/index.ts";
import type { NodeSizes } from "../../src/rga/tree.ts";

/** Names whose order by UTF-8 differs from that by UTF-16 units are among them. */
export const NAMES = ["a", "b", "\u{1f600}", "\uffee", "é"];

/** The smallest nodes, in which small documents are deep. */
export const SMALLEST: NodeSizes = { items: 3, units: 2 };

/** One random edit of one replica; the fractions pick a place in whatever is there. */
interface Choice {
  readonly author: number;
  readonly hears: number;
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

const character = fc.constantFrom("x", "y", "é", "\r", "\n", "\u{1f600}", "\u{10ffff}", "\0", "\uffff");
const choice: fc.Arbitrary<Choice> = fc.record({
  author: fc.nat({ max: NAMES.length - 1 }),
  hears: fc.nat({ max: 100 }),
  from: fc.double({ min: 0, max: 1, noNaN: true }),
  to: fc.double({ min: 0, max: 1, noNaN: true }),
  text: fc.array(character, { maxLength: 5 }).map((characters) => characters.join("")),
});

export const choices = fc.array(choice, { minLength: 1, maxLength: 25 });

/** The nearest position at or before a fraction of the text. */
function position(document: Document, fraction: number): number {
  const at = Math.floor(fraction * document.length);
  return document.rga.isPosition(at) ? at : at - 1;
}

/** Plays choices: an empty text means to delete. Answers all operations in the order in which they were made. */
export function play(choices: readonly Choice[]): Op[] {
  const ops: Op[] = [];
  const replicas = NAMES.map(() => ({ document: new Document(new Rga(SMALLEST)), heard: 0 }));
  for (const { author, hears, from, to, text } of choices) {
    const replica = replicas[author] as (typeof replicas)[number];
    const { document } = replica;
    const heard = Math.max(replica.heard, Math.floor((hears / 100) * ops.length));
    for (const op of ops.slice(replica.heard, heard)) document.integrate(op, []);
    replica.heard = heard;
    const [at, end] = [position(document, Math.min(from, to)), position(document, Math.max(from, to))];
    if (text === "") {
      const edits = document.localDelete(at, end - at);
      if (edits.length > 0) ops.push(oneOrBatch(edits));
    } else ops.push(document.localInsert(0, at, text, NAMES[author] as string) as Op);
    const made = ops.at(-1);
    if (made) document.integrate(made, []);
  }
  return ops;
}

/** A random order in which operations arrive, some of them twice. */
export function arrivals(ops: readonly Op[], order: readonly number[]): Op[] {
  const left = [...ops];
  const arrived: Op[] = [];
  for (let turn = 0; left.length > 0; turn += 1) {
    const pick = (order[turn % order.length] ?? 0) % left.length;
    const op = left[pick] as Op;
    arrived.push(op);
    if (turn % 7 !== 3) left.splice(pick, 1);
  }
  return arrived;
}

export const order = fc.array(fc.nat(), { minLength: 1, maxLength: 20 });
