/** The sequence of docs/protocol.md, section 5, as plainly as it can be written: what the fake server believes in. */

import type { Edit, ElementId, Op } from "../../src/op.ts";

interface Element {
  readonly id: ElementId;
  readonly char: string;
  isDeleted: boolean;
}

export class Sequence {
  readonly elements: Element[] = [];

  get text(): string {
    return this.elements.map(({ char, isDeleted }) => (isDeleted ? "" : char)).join("");
  }

  /** Its runs, as a `resync` carries them, one for each element. */
  runs(replicas: string[]): (readonly [number, number, string | number])[] {
    return this.elements.map(({ id: [lamport, replica], char, isDeleted }) => {
      if (!replicas.includes(replica)) replicas.push(replica);
      return [lamport, replicas.indexOf(replica), isDeleted ? 1 : char];
    });
  }

  integrate(op: Op): void {
    for (const edit of op.type === "batch" ? op.ops : [op]) this.#integrate(edit);
  }

  #integrate(edit: Edit): void {
    const [lamport, replica] = edit.id;
    if (edit.type === "del") {
      for (let distance = 0; distance < (edit.len ?? 1); distance++) {
        const target = this.elements[this.#find([lamport + distance, replica])];
        if (target) target.isDeleted = true;
      }
      return;
    }
    let parent = edit.parent_id;
    for (const [distance, char] of [...edit.value].entries()) {
      const id: ElementId = [lamport + distance, replica];
      if (this.#find(id) < 0) this.#insert(parent, id, char);
      parent = id;
    }
  }

  #insert(parent: ElementId, id: ElementId, char: string): void {
    let at = this.#find(parent) + 1;
    while (comesBefore(this.elements[at]?.id, id)) at++;
    this.elements.splice(at, 0, { id, char, isDeleted: false });
  }

  #find([lamport, replica]: ElementId): number {
    return this.elements.findIndex(({ id }) => id[0] === lamport && id[1] === replica);
  }
}

function comesBefore(a: ElementId | undefined, b: ElementId): boolean {
  return a !== undefined && (a[0] > b[0] || (a[0] === b[0] && a[1] < b[1]));
}

/** How many numbers an operation takes. */
export function countOf(op: Op): number {
  if (op.type === "batch") return op.ops.reduce((count, edit) => count + countOf(edit), 0);
  return op.type === "ins" ? [...op.value].length : (op.len ?? 1);
}
