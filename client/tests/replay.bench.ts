/** What an edit costs in the browser's replica: a real history, typed without a connection, and received. */

import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { bench, describe } from "vitest";
import { Document } from "../src/document.ts";
import { Replica } from "../src/replica/index.ts";

interface Trace {
  readonly endContent: string;
  readonly txns: readonly { readonly patches: readonly (readonly [at: number, deleted: number, inserted: string])[] }[];
}

const NAMES = ["automerge-paper", "rustcode", "seph-blog1", "sveltecomponent"];

for (const name of NAMES) {
  const path = new URL(`../../tests/data/traces/${name}.json.gz`, import.meta.url);
  const trace = JSON.parse(gunzipSync(readFileSync(path)).toString()) as Trace;
  const patches = trace.txns.flatMap((txn) => txn.patches);
  const typed = type();

  function type(): Replica {
    const replica = new Replica("bench", { client: "a".repeat(22), secret: "s".repeat(22) });
    for (const [at, deleted, inserted] of patches) {
      if (deleted > 0) replica.step({ type: "delete", at, len: deleted });
      if (inserted !== "") replica.step({ type: "insert", at, text: inserted });
    }
    expectEnd(replica.document);
    return replica;
  }

  function expectEnd(document: Document): void {
    if (document.text !== trace.endContent) throw new Error(`${name} does not end in the text that was recorded`);
  }

  const operations = typed.saved().pending.map(([, op]) => op);
  describe(`${name}: ${patches.length} patches, ${operations.length} operations`, () => {
    bench("typed", () => void type(), { iterations: 5, time: 0, warmupIterations: 1, warmupTime: 0 });
    bench(
      "received",
      () => {
        const document = new Document();
        for (const op of operations) document.integrate(op, []);
        expectEnd(document);
      },
      { iterations: 5, time: 0, warmupIterations: 1, warmupTime: 0 },
    );
  });
}
