/** What must hold of the structures themselves. */

import { expect } from "vitest";
import type { Document } from "../../src/document.ts";
import type { Rga } from "../../src/rga/index.ts";
import { type Item, Node, type Segment, segments } from "../../src/rga/tree.ts";
import { isWellFormed, scalarCount } from "../../src/text.ts";

/** Checks leaves, nodes and their sums, the index, and that the order is one that insertions can lead to. */
export function checkRga(rga: Rga): void {
  const all = [...segments(rga.root)];
  checkNode(rga, rga.root);
  for (const segment of all) checkSegment(rga, segment);
  const depths = new Set(all.map(depth));
  expect(depths.size).toBeLessThanOrEqual(1);
  const indexed = [...rga.authors.values()].flatMap(({ chunks }) => chunks.flat());
  expect(new Set(indexed)).toEqual(new Set(all));
  expect(indexed.length).toBe(all.length);
  for (const { chunks } of rga.authors.values()) {
    for (const chunk of chunks) expect(chunk.length).toBeGreaterThan(0);
    const flat = chunks.flat();
    for (const [slot, segment] of flat.entries())
      expect(flat[slot + 1]?.lamport ?? segment.end).toBeGreaterThanOrEqual(segment.end);
  }
  expect(rga.highest).toBe(Math.max(0, ...all.map((segment) => segment.end - 1)));
  expect(rga.isInOrder()).toBe(true);
}

function checkSegment(rga: Rga, segment: Segment): void {
  const { text, len, lamport, author } = segment;
  expect(len).toBeGreaterThan(0);
  expect(lamport).toBeGreaterThan(0);
  expect(text === "" || scalarCount(text) === len).toBe(true);
  expect(isWellFormed(text)).toBe(true);
  expect(text.length).toBeLessThanOrEqual(rga.sizes.units);
  expect(rga.authors.get(author.name)).toBe(author);
}

function checkNode(rga: Rga, node: Node): void {
  expect(node.items.length).toBeLessThanOrEqual(rga.sizes.items);
  expect(node.items.length > 0 || node === rga.root).toBe(true);
  expect(node.units).toBe(node.items.reduce((sum, item) => sum + item.units, 0));
  expect(node.lamport).toBe(Math.min(Number.POSITIVE_INFINITY, ...node.items.map((item) => item.lamport)));
  for (const item of node.items) {
    expect(item.parent).toBe(node);
    if (item instanceof Node) checkNode(rga, item);
  }
}

function depth(item: Item): number {
  return item.parent ? depth(item.parent) + 1 : 0;
}

/** Checks the sequence, and that what waits is counted and misses what it waits for. */
export function checkDocument(document: Document): void {
  checkRga(document.rga);
  let count = 0;
  for (const edit of document.waiting) {
    count += edit.type === "ins" ? 1 : (edit.len ?? 1);
    if (edit.type === "ins") expect(document.rga.contains(edit.parent_id)).toBe(false);
    else expect(document.rga.extent(edit.id, edit.len ?? 1)).toEqual([false, edit.len ?? 1]);
  }
  expect(document.waitingCount).toBe(count);
}
