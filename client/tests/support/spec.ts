/**
 * The definition of the sequence: a map of nodes and the walk over their tree (docs/protocol.md, ORD-1). Written to be
 * read; the shipped structure must equal it.
 */

import { countOf, editsOf } from "../../src/edit.ts";
import type { Run } from "../../src/message.ts";
import type { Edit, ElementId, Op } from "../../src/op.ts";

interface SpecNode {
  readonly id: ElementId;
  readonly parent: string;
  readonly value: string;
}

const key = (id: ElementId) => (id[0] === 0 ? "root" : `${id[0]} ${id[1]}`);

/** The name's bytes in UTF-8, written so that `<` compares them. */
const bytes = (name: string) => Buffer.from(name, "utf8").toString("hex");

/** A document by definition. Takes edits in any order, any number of times. */
export class Spec {
  private readonly nodes = new Map<string, SpecNode>();
  private readonly deleted = new Set<string>();

  integrate(op: Op): void {
    for (const edit of editsOf(op)) this.integrateEdit(edit);
  }

  private integrateEdit(edit: Edit): void {
    const [lamport, name] = edit.id;
    if (edit.type === "del") {
      for (let distance = 0; distance < countOf(edit); distance += 1) this.deleted.add(key([lamport + distance, name]));
      return;
    }
    let parent = key(edit.parent_id);
    for (const [distance, value] of [...edit.value].entries()) {
      const id = [lamport + distance, name] as const;
      if (!this.nodes.has(key(id))) this.nodes.set(key(id), { id, parent, value });
      parent = key(id);
    }
  }

  /** Every element that can be reached from the root, in document order. */
  elements(): [id: ElementId, value: string | undefined][] {
    const children = new Map<string, SpecNode[]>();
    for (const node of this.nodes.values()) children.set(node.parent, [...(children.get(node.parent) ?? []), node]);
    // The first sibling in document order goes last, because the walk takes from the end.
    for (const siblings of children.values())
      siblings.sort((a, b) => a.id[0] - b.id[0] || (bytes(a.id[1]) < bytes(b.id[1]) ? 1 : -1));
    const walk = [...(children.get("root") ?? [])];
    const order: [ElementId, string | undefined][] = [];
    for (let node = walk.pop(); node; node = walk.pop()) {
      order.push([node.id, this.deleted.has(key(node.id)) ? undefined : node.value]);
      walk.push(...(children.get(key(node.id)) ?? []));
    }
    return order;
  }

  text(): string {
    return this.elements()
      .map(([, value]) => value ?? "")
      .join("");
  }
}

/** Runs, element by element. */
export function elementsOf(runs: readonly Run[]): [id: ElementId, value: string | undefined][] {
  return runs.flatMap(([[lamport, name], content]) => {
    const values = typeof content === "string" ? [...content] : Array.from<undefined>({ length: content });
    return values.map((value, distance): [ElementId, string | undefined] => [[lamport + distance, name], value]);
  });
}
