/** The balanced tree over the segments of a sequence, and the index from ids to segments. */

import { compareNames } from "../id.ts";

/** How much fits into the nodes. The default is for speed; small ones make small documents deep, for tests. */
export interface NodeSizes {
  /** Children of a node, at least 3. */
  readonly items: number;
  /** UTF-16 units of a segment's text, at least 2. */
  readonly units: number;
}

/** What a node is made of: segments on the lowest level, nodes above. */
export type Item = Segment | Node;

/** A node of the tree. Elements never disappear, so nodes are only ever added. */
export class Node {
  parent: Node | undefined;
  /** Visible UTF-16 units below. */
  units = 0;
  /** The least Lamport value that a segment below begins with. Inside a segment they rise. */
  lamport = Number.POSITIVE_INFINITY;
  items: Item[] = [];
}

/** Elements with consecutive ids that stand next to each other, all visible or all deleted. */
export class Segment {
  parent: Node | undefined;
  readonly author: Author;
  /** Of the first element. */
  readonly lamport: number;
  /** Number of elements. */
  len: number;
  /** The visible characters; empty exactly if the segment is deleted. */
  text: string;

  constructor(author: Author, lamport: number, len: number, text: string) {
    this.author = author;
    this.lamport = lamport;
    this.len = len;
    this.text = text;
  }

  get units(): number {
    return this.text.length;
  }

  /** The Lamport value behind the last element. */
  get end(): number {
    return this.lamport + this.len;
  }

  /** Whether elements with these ids can be appended. */
  goesOnAs(author: Author, lamport: number, text: string): boolean {
    return this.author === author && this.end === lamport && (this.text === "") === (text === "");
  }
}

/** How many segments a chunk of an author's index holds before it is cut in two. */
const CHUNK_MAX = 256;

/** A replica whose elements are in the sequence, with its segments by Lamport value, in chunks of bounded length. */
export class Author {
  readonly name: string;
  readonly chunks: Segment[][] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** The chunk in which an id is or would be, and how many of its segments begin at the id or before. */
  #place(lamport: number): [chunk: number, slot: number] {
    const chunk = Math.max(0, countUpTo(this.chunks, (chunk) => (chunk[0] as Segment).lamport <= lamport) - 1);
    return [chunk, countUpTo(this.chunks[chunk] ?? [], (segment) => segment.lamport <= lamport)];
  }

  /** The segment that holds an element. */
  find(lamport: number): Segment | undefined {
    const [chunk, slot] = this.#place(lamport);
    const segment = this.chunks[chunk]?.[slot - 1];
    return segment && lamport < segment.end ? segment : undefined;
  }

  /** The first segment that begins behind a Lamport value. */
  next(lamport: number): Segment | undefined {
    const [chunk, slot] = this.#place(lamport);
    return this.chunks[chunk]?.[slot] ?? this.chunks[chunk + 1]?.[0];
  }

  add(segment: Segment): void {
    const [chunk, slot] = this.#place(segment.lamport);
    const segments = this.chunks[chunk];
    if (!segments) this.chunks.push([segment]);
    else {
      segments.splice(slot, 0, segment);
      // At an end, cut there: who types on fills chunks to the brim.
      const cut = slot === CHUNK_MAX ? CHUNK_MAX : CHUNK_MAX / 2;
      if (segments.length > CHUNK_MAX) this.chunks.splice(chunk + 1, 0, segments.splice(cut));
    }
  }

  remove(segment: Segment): void {
    const [chunk, slot] = this.#place(segment.lamport);
    const segments = this.chunks[chunk] ?? [];
    segments.splice(slot - 1, 1);
    if (segments.length === 0) this.chunks.splice(chunk, 1);
  }
}

/** How many items at the beginning of a list pass a test that all behind the first failing one fail too. */
export function countUpTo<T>(items: readonly T[], passes: (item: T) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (passes(items[middle] as T)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The segment right behind an item (`step` 1) or right before it (−1). */
export function neighbour(item: Item, step: 1 | -1): Segment | undefined {
  let at = item;
  for (let node = at.parent; node; node = at.parent) {
    const beside = node.items[node.items.indexOf(at) + step];
    if (beside) return outermost(beside, step);
    at = node;
  }
  return undefined;
}

/** The first segment of an item (`step` 1) or its last one (−1). */
export function outermost(item: Item, step: 1 | -1): Segment | undefined {
  let at: Item | undefined = item;
  while (at instanceof Node) at = at.items.at(step === 1 ? 0 : -1);
  return at;
}

/** The segments below an item, in document order. */
export function* segments(item: Item): Generator<Segment, void> {
  if (item instanceof Segment) yield item;
  else for (const child of item.items) yield* segments(child);
}

/** Number of visible UTF-16 units before an item. */
export function unitsBefore(item: Item): number {
  let units = 0;
  let at = item;
  for (let node = at.parent; node; node = at.parent) {
    for (const child of node.items) {
      if (child === at) break;
      units += child.units;
    }
    at = node;
  }
  return units;
}

/** Tells the nodes above a segment that it has so many visible units more. */
export function grow(segment: Segment, units: number): void {
  for (let node = segment.parent; node; node = node.parent) {
    node.units += units;
    if (segment.lamport < node.lamport) node.lamport = segment.lamport;
  }
}

/** The first segment below an item, in document order, that does not precede an id in sibling order. */
export function firstNotPreceding(item: Item, lamport: number, name: string): Segment | undefined {
  if (item.lamport > lamport) return undefined;
  if (item instanceof Segment) {
    const precedes = item.lamport === lamport && compareNames(item.author.name, name) < 0;
    return precedes ? undefined : item;
  }
  for (const child of item.items) {
    const found = firstNotPreceding(child, lamport, name);
    if (found) return found;
  }
  return undefined;
}
