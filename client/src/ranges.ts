/** A set of element ids, kept as maximal ranges: what was deleted before it arrived. */

import { compareNames, endOf } from "./id.ts";
import type { ElementId } from "./op.ts";
import { countUpTo } from "./rga/tree.ts";

type Range = readonly [first: number, end: number];

export class IdRanges {
  /** Number of ids. */
  count = 0;
  /** By replica, ranges of Lamport values in order, which neither overlap nor touch. */
  readonly #ranges = new Map<string, Range[]>();

  /** Adds `len` ids, as far as they are ids; answers how many were not there. */
  add(id: ElementId, len: number): number {
    const [first, name] = id;
    const end = endOf(id, len);
    const ranges = this.#ranges.get(name) ?? [];
    const [from, to] = reaching(ranges, first, end);
    const known = ranges.slice(from, to);
    const joined: Range = [Math.min(first, known[0]?.[0] ?? first), Math.max(end, known.at(-1)?.[1] ?? end)];
    ranges.splice(from, known.length, joined);
    this.#ranges.set(name, ranges);
    const added = known.reduce((left, [start, stop]) => left - (stop - start), joined[1] - joined[0]);
    this.count += added;
    return added;
  }

  /** Takes out `len` ids; answers what of them was there. */
  take(id: ElementId, len: number): [ElementId, number][] {
    const [first, name] = id;
    const end = endOf(id, len);
    const taken: [ElementId, number][] = [];
    const ranges = this.#ranges.get(name);
    if (!ranges) return taken;
    const [from, to] = reaching(ranges, first, end);
    const left: Range[] = [];
    for (const range of ranges.slice(from, to)) {
      const [low, high] = [Math.max(range[0], first), Math.min(range[1], end)];
      if (low >= high) {
        left.push(range);
        continue;
      }
      taken.push([[low, name], high - low]);
      if (range[0] < low) left.push([range[0], low]);
      if (high < range[1]) left.push([high, range[1]]);
    }
    ranges.splice(from, to - from, ...left);
    this.count -= taken.reduce((sum, [, count]) => sum + count, 0);
    return taken;
  }

  /** All ranges as (first id, how many), by replica and Lamport value. */
  all(): [ElementId, number][] {
    const names = [...this.#ranges.keys()].sort(compareNames);
    return names.flatMap((name) =>
      (this.#ranges.get(name) ?? []).map(([first, end]): [ElementId, number] => [[first, name], end - first]),
    );
  }
}

/** The slots of the ranges that overlap or touch one. */
function reaching(ranges: readonly Range[], first: number, end: number): [from: number, to: number] {
  return [countUpTo(ranges, (range) => range[1] < first), countUpTo(ranges, (range) => range[0] <= end)];
}
