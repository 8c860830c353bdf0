/** What deltas do to a text. */

import { expect } from "vitest";
import type { Delta } from "../../src/machine.ts";
import { isWellFormed } from "../../src/text.ts";

/** A text after a change; every position must be between characters. */
export function applied(text: string, delta: Delta): string {
  const behind = delta.at + (delta.type === "delete" ? delta.len : 0);
  const [left, gone, right] = [text.slice(0, delta.at), text.slice(delta.at, behind), text.slice(behind)];
  expect(delta.at >= 0 && behind <= text.length && [left, gone, right].every(isWellFormed)).toBe(true);
  return left + (delta.type === "insert" ? delta.text : "") + right;
}
