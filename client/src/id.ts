/** Order and arithmetic of ids (docs/protocol.md, section 5). */

import type { ElementId } from "./op.ts";

/** The largest integer of the protocol: 2^53 − 1. */
export const INTEGER_MAX = Number.MAX_SAFE_INTEGER;

/** Compares names by the bytes of their UTF-8 (ID-2), which is by code point: negative if `a` comes first. */
export function compareNames(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at += 1) {
    const difference = weight(a.charCodeAt(at)) - weight(b.charCodeAt(at));
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Puts surrogates, which stand for what is above U+FFFF, behind all other units. */
function weight(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit;
}

/** Whether one element comes before another if both are children of one parent (ORD-1): newest first. */
export function precedes(lamport: number, name: string, otherLamport: number, otherName: string): boolean {
  return lamport > otherLamport || (lamport === otherLamport && compareNames(name, otherName) < 0);
}

/** Whether it is the root, the only id with Lamport value 0. */
export function isRoot(id: ElementId): boolean {
  return id[0] === 0;
}

/** The id `distance` further on in the same run. */
export function plus(id: ElementId, distance: number): ElementId {
  return [id[0] + distance, id[1]];
}

/** The Lamport value behind the last of `len` ids, none of which is beyond the largest. */
export function endOf(id: ElementId, len: number): number {
  // Behind the largest integer sums are rounded, but not below it.
  return Math.min(id[0] + len, INTEGER_MAX + 1);
}
