/**
 * The sequence CRDT: elements in document order, tombstones included.
 *
 * Holds only what is connected to the root. Under W-3 an element's place is found without its tree: start right behind
 * the parent and skip while the next element precedes the new one in sibling order. Neighbours with consecutive ids are
 * one segment, and a balanced tree over the segments finds positions and the end of a skip. Positions are in UTF-16
 * units, ids and lengths of runs count Unicode scalar values. How segments are cut depends on history; `runs` does not.
 */

import { INTEGER_MAX, isRoot, precedes } from "../id.ts";
import type { Run } from "../message.ts";
import { type ElementId, ROOT } from "../op.ts";
import { isInsidePair, scalarCount, unitCount } from "../text.ts";
import {
  Author,
  firstNotPreceding,
  grow,
  type Item,
  Node,
  type NodeSizes,
  neighbour,
  outermost,
  Segment,
  segments,
  unitsBefore,
} from "./tree.ts";

/** Most tombstones of one run. */
const RUN_MAX = 2 ** 32 - 1;

/** A gap between elements: behind the first `offset` elements of a segment; without one, before everything. */
type Gap = readonly [segment: Segment | undefined, offset: number];

export class Rga {
  readonly authors = new Map<string, Author>();
  root = new Node();
  /** The largest Lamport value of any element, tombstones included; 0 if there is none. */
  highest = 0;
  readonly sizes: NodeSizes;
  /** The segment that was changed last: edits cluster, so it is asked before the index. */
  #recent: Segment | undefined;

  constructor(sizes: NodeSizes = { items: 32, units: 512 }) {
    this.sizes = sizes;
  }

  /** Number of visible UTF-16 units. */
  get length(): number {
    return this.root.units;
  }

  /** The visible text. */
  text(): string {
    const pieces: string[] = [];
    for (const segment of segments(this.root)) pieces.push(segment.text);
    return pieces.join("");
  }

  /** The segment that holds an element. */
  #find(id: ElementId): Segment | undefined {
    const [lamport, name] = id;
    const recent = this.#recent;
    if (recent && recent.author.name === name && lamport >= recent.lamport && lamport < recent.end) return recent;
    return this.authors.get(name)?.find(lamport);
  }

  /** Whether the element exists, visible or deleted. The root does not count. */
  contains(id: ElementId): boolean {
    return this.#find(id) !== undefined;
  }

  /**
   * Of the ids `id`, `id + 1`, … `id + len − 1`: whether the first exists, and how many from the first on agree with it
   * in that. `len` is at least 1.
   */
  extent(id: ElementId, len: number): [exists: boolean, count: number] {
    const [lamport, name] = id;
    // New ids exceed all old ones: most of the time there is nothing to look up.
    if (lamport > this.highest) return [false, len];
    let agree = 0;
    for (;;) {
      const segment = agree < len && this.#find([lamport + agree, name]);
      if (!segment) break;
      agree = segment.end - lamport;
    }
    if (agree > 0) return [true, Math.min(agree, len)];
    const next = this.authors.get(name)?.next(lamport);
    return [false, next ? Math.min(len, next.lamport - lamport) : len];
  }

  /** The character of an element, empty for a tombstone; `undefined` if there is no such element. */
  value(id: ElementId): string | undefined {
    const segment = this.#find(id);
    if (!segment?.text) return segment?.text;
    const at = unitCount(segment.text, id[0] - segment.lamport);
    return String.fromCodePoint(segment.text.codePointAt(at) ?? 0);
  }

  /** The element right before `id` in document order, tombstones included; the root if there is none. */
  predecessor(id: ElementId): ElementId {
    const segment = this.#find(id);
    if (!segment) return ROOT;
    if (id[0] > segment.lamport) return [id[0] - 1, id[1]];
    const before = neighbour(segment, -1);
    return before ? [before.end - 1, before.author.name] : ROOT;
  }

  /** Whether a position is one: from 0 to the length, and not inside a surrogate pair. */
  isPosition(at: number): boolean {
    if (!(Number.isInteger(at) && at >= 0 && at <= this.length)) return false;
    if (at === 0 || at === this.length) return true;
    const [segment, offset] = this.#findVisible(at);
    return !isInsidePair(segment.text, offset);
  }

  /** The visible segment in which a unit is, and the unit's place in its text. */
  #findVisible(at: number): [Segment, number] {
    let item: Item = this.root;
    let left = at;
    while (item instanceof Node) {
      let below: Item | undefined;
      for (below of item.items) {
        if (left < below.units) break;
        left -= below.units;
      }
      item = below as Item;
    }
    return [item, left];
  }

  /** The id of the character that ends at a position; the root at the beginning. */
  idBefore(at: number): ElementId {
    if (at === 0) return ROOT;
    const [segment, offset] = this.#findVisible(at - 1);
    return [segment.lamport + scalarCount(segment.text.slice(0, offset + 1)) - 1, segment.author.name];
  }

  /** The ids of the characters between two positions as ranges (first id, how many), in document order. */
  idsAt(at: number, end: number): [ElementId, number][] {
    const ranges: [ElementId, number][] = [];
    let left = end - at;
    if (left <= 0) return ranges;
    let [segment, offset]: [Segment | undefined, number] = this.#findVisible(at);
    for (; segment && left > 0; segment = neighbour(segment, 1)) {
      const text = segment.text.slice(offset, offset + left);
      const lamport = segment.lamport + scalarCount(segment.text.slice(0, offset));
      left -= text.length;
      offset = 0;
      if (text === "") continue;
      const last = ranges.at(-1);
      if (last && last[0][1] === segment.author.name && last[0][0] + last[1] === lamport) last[1] += scalarCount(text);
      else ranges.push([[lamport, segment.author.name], scalarCount(text)]);
    }
    return ranges;
  }

  /**
   * Inserts a run of new elements behind `parent`; answers the position of its first character, `undefined` if the
   * parent does not exist. The caller has made sure of W-3, that the text is not empty, that no id exists, and that
   * none is beyond the largest.
   */
  insert(parent: ElementId, id: ElementId, text: string): number | undefined {
    const [lamport, name] = id;
    const segment = isRoot(parent) ? undefined : this.#find(parent);
    if (!segment && !isRoot(parent)) return undefined;
    const behind: Gap = [segment, segment ? parent[0] - segment.lamport + 1 : 0];
    return this.#put(this.#skipPreceding(behind, lamport, name), this.#author(name), lamport, text);
  }

  #author(name: string): Author {
    let author = this.authors.get(name);
    if (!author) {
      author = new Author(name);
      this.authors.set(name, author);
    }
    return author;
  }

  /** The linear rule: from a gap on, past all elements that precede an id in sibling order. */
  #skipPreceding([segment, offset]: Gap, lamport: number, name: string): Gap {
    if (segment && offset < segment.len && !precedes(segment.lamport + offset, segment.author.name, lamport, name))
      return [segment, offset];
    let stop = segment ? undefined : firstNotPreceding(this.root, lamport, name);
    let at: Item | undefined = segment;
    for (let node = at?.parent; at && node && !stop; node = at.parent) {
      for (let slot = node.items.indexOf(at) + 1; slot < node.items.length && !stop; slot += 1)
        stop = firstNotPreceding(node.items[slot] as Item, lamport, name);
      at = node;
    }
    const before = stop ? neighbour(stop, -1) : outermost(this.root, -1);
    return [before, before?.len ?? 0];
  }

  /** Puts visible elements into a gap, in pieces of bounded length; answers the position of the first. */
  #put(gap: Gap, author: Author, lamport: number, text: string): number {
    let [left, offset] = gap;
    let next = lamport;
    let position: number | undefined;
    for (let start = 0; start < text.length; ) {
      let end = Math.min(start + this.sizes.units, text.length);
      if (isInsidePair(text, end)) end -= 1;
      const piece = text.slice(start, end);
      const len = scalarCount(piece);
      left = this.#putPiece([left, offset], new Segment(author, next, len, piece));
      offset = left.len;
      position ??= unitsBefore(left) + left.units - piece.length;
      next += len;
      start = end;
    }
    return position ?? 0;
  }

  /** Puts elements into a gap: extends the segment there or adds this one. Answers the segment that ends with them. */
  #putPiece([left, offset]: Gap, segment: Segment): Segment {
    const { author, lamport, len, text } = segment;
    this.highest = Math.max(this.highest, segment.end - 1);
    if (left && offset < left.len) this.#cut(left, offset);
    if (left?.goesOnAs(author, lamport, text) && left.units + text.length <= this.sizes.units) {
      left.len += len;
      left.text += text;
      grow(left, text.length);
      this.#recent = left;
      return left;
    }
    this.#recent = segment;
    this.#hang(segment, left);
    return segment;
  }

  /** Hangs a segment into the tree and the index, behind another one or before all. */
  #hang(segment: Segment, left: Segment | undefined): void {
    const node = left ? (left.parent as Node) : this.#firstLeaf();
    const slot = left ? node.items.indexOf(left) + 1 : 0;
    node.items.splice(slot, 0, segment);
    segment.parent = node;
    segment.author.add(segment);
    grow(segment, segment.units);
    // At an end, cut there: who types or loads on fills nodes to the brim.
    if (node.items.length > this.sizes.items) this.#split(node, slot === this.sizes.items ? slot : slot === 0 ? 1 : 0);
  }

  #firstLeaf(): Node {
    let node = this.root;
    while (node.items[0] instanceof Node) node = node.items[0];
    return node;
  }

  /** Cuts a node in two, before `slot` if that is not 0, else in the middle. */
  #split(node: Node, slot: number): void {
    const right = new Node();
    const cut = slot || node.items.length >> 1;
    right.items = node.items.splice(cut);
    for (const item of right.items) item.parent = right;
    for (const half of [node, right]) {
      half.units = half.items.reduce((units, item) => units + item.units, 0);
      half.lamport = half.items.reduce((least, item) => Math.min(least, item.lamport), Number.POSITIVE_INFINITY);
    }
    let { parent } = node;
    if (!parent) {
      parent = new Node();
      parent.items = [node];
      parent.units = node.units + right.units;
      parent.lamport = Math.min(node.lamport, right.lamport);
      node.parent = parent;
      this.root = parent;
    }
    right.parent = parent;
    const at = parent.items.indexOf(node) + 1;
    parent.items.splice(at, 0, right);
    if (parent.items.length > this.sizes.items) this.#split(parent, at === this.sizes.items ? at : 0);
  }

  /** Cuts a segment in two; answers the right one. `offset` is strictly inside it. */
  #cut(left: Segment, offset: number): Segment {
    const { text } = left;
    const units = unitCount(text, offset);
    const right = new Segment(left.author, left.lamport + offset, left.len - offset, text.slice(units));
    grow(left, units - text.length);
    left.len = offset;
    left.text = text.slice(0, units);
    this.#hang(right, left);
    return right;
  }

  /**
   * Deletes the elements `id`, `id + 1`, … `id + len − 1`, all of which exist. Reports each range of characters that
   * vanishes as (position, length), each position as of after the ranges before it vanished.
   */
  delete(id: ElementId, len: number, vanished: (at: number, len: number) => void): void {
    const end = id[0] + len;
    let [from, units] = [-1, 0];
    for (let lamport = id[0]; lamport < end; ) {
      let segment = this.#find([lamport, id[1]]);
      if (!segment) break;
      const next = Math.min(end, segment.end);
      if (segment.text) {
        if (lamport > segment.lamport) segment = this.#cut(segment, lamport - segment.lamport);
        if (next < segment.end) this.#cut(segment, next - lamport);
        const at = unitsBefore(segment);
        // How a range is cut into segments depends on history; what is reported must not.
        if (from !== at) {
          if (units > 0) vanished(from, units);
          [from, units] = [at, 0];
        }
        units += segment.units;
        this.#bury(segment);
      }
      lamport = next;
    }
    if (units > 0) vanished(from, units);
  }

  /** Makes tombstones of a segment, and one segment of it and those beside it in its node. */
  #bury(segment: Segment): void {
    grow(segment, -segment.units);
    segment.text = "";
    const { items } = segment.parent as Node;
    const slot = items.indexOf(segment);
    this.#recent = this.#join(items, slot) ?? segment;
    this.#recent = this.#join(items, slot - 1) ?? this.#recent;
  }

  /** Makes one segment of two neighbours, if they are tombstones and consecutive; answers it. */
  #join(items: Item[], slot: number): Segment | undefined {
    const [left, right] = [items[slot], items[slot + 1]];
    if (!(left instanceof Segment && right instanceof Segment)) return undefined;
    if (left.text || !left.goesOnAs(right.author, right.lamport, right.text)) return undefined;
    left.len += right.len;
    items.splice(slot + 1, 1);
    right.author.remove(right);
    return left;
  }

  /** All elements in document order, in the fewest runs that describe them: equal sequences give equal runs. */
  runs(): Run[] {
    const runs: Run[] = [];
    let open: Segment | undefined;
    const close = () => {
      if (!open) return;
      const { author, lamport, len, text } = open;
      if (text) runs.push([[lamport, author.name], text]);
      for (let done = 0; done < len && !text; done += RUN_MAX)
        runs.push([[lamport + done, author.name], Math.min(RUN_MAX, len - done)]);
    };
    for (const { author, lamport, len, text } of segments(this.root)) {
      if (open?.goesOnAs(author, lamport, text)) {
        open.len += len;
        open.text += text;
      } else {
        close();
        open = new Segment(author, lamport, len, text);
      }
    }
    close();
    return runs;
  }

  /**
   * Builds the sequence that `runs` described; `undefined` if an id occurs twice, a run is empty, an id is the root's or
   * beyond the largest, or the order is not one that insertions can have led to.
   */
  static fromRuns(runs: readonly Run[], sizes?: NodeSizes): Rga | undefined {
    const rga = new Rga(sizes);
    for (const [id, content] of runs) {
      const len = typeof content === "string" ? scalarCount(content) : content;
      const isFit = len > 0 && !isRoot(id) && id[0] + (len - 1) <= INTEGER_MAX;
      const [exists, absent] = isFit ? rga.extent(id, len) : [true, 0];
      if (exists || absent < len) return undefined;
      const last = outermost(rga.root, -1);
      const gap: Gap = [last, last?.len ?? 0];
      if (typeof content === "string") rga.#put(gap, rga.#author(id[1]), id[0], content);
      else rga.#putPiece(gap, new Segment(rga.#author(id[1]), id[0], len, ""));
    }
    return rga.isInOrder() ? rga : undefined;
  }

  /**
   * Whether parents can be found that explain the order. An element's parent stands before it, is older, and all between
   * them precede it in sibling order: so it can only be the nearest element on the left that does not precede it, and
   * that one must be older. Inside a segment it always is.
   */
  isInOrder(): boolean {
    // What can still be the nearest: segments' beginnings, each weaker in sibling order than what is above it.
    const nearest: [first: Segment, last: number][] = [];
    for (const segment of segments(this.root)) {
      const { lamport } = segment;
      const { name } = segment.author;
      for (let top = nearest.pop(); top; top = nearest.pop()) {
        const [first, end] = top;
        if (precedes(first.lamport, first.author.name, lamport, name)) continue;
        // Some of this segment does not precede: its elements up to the new one's Lamport value.
        const reach = Math.min(end, lamport);
        const last = precedes(reach, first.author.name, lamport, name) ? Math.min(end, lamport - 1) : reach;
        if (last >= lamport) return false;
        nearest.push([first, last]);
        break;
      }
      nearest.push([segment, segment.end - 1]);
    }
    return true;
  }
}
