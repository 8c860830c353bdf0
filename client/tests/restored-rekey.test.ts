import { expect, test } from "vitest";
import { Replica } from "../src/replica/index.ts";

/** Behind the tombstones of an empty document there is no order but that of what waits. */
test("after a restart what follows a refused insertion goes where that one went, not to the beginning", () => {
  const replica = Replica.restore("notes", {
    identity: { client: "old", secret: "secret of old" },
    attempt: 1,
    next_number: 3,
    clock: 6,
    pending: [
      [1, { type: "ins", parent_id: [3, "X"], id: [4, "old"], value: "ab" }],
      [2, { type: "ins", parent_id: [5, "old"], id: [6, "old"], value: "c" }],
    ],
    rekey: { refused: [[1, "document_full"]], is_doubtful: false },
  });
  replica.step({ type: "start" });
  replica.step({ type: "opened", fresh: { client: "new", secret: "secret of new" } });
  const at = { doc_id: "notes", server_seq: 3, term: "0".repeat(32) } as const;
  const v2 = {
    term: at.term,
    epoch: 0,
    durability: "disk",
    last: 0,
    replaced_last: 0,
    limits: { inflight_max: 9 },
  } as const;
  const { doc_id, server_seq } = at;
  replica.step({
    type: "message",
    message: { type: "hello_ack", doc_id, server_seq, v2: { ...v2, follows: "resync" } },
  });
  const runs = [[[1, "X"], "xyz"]] as const;
  replica.step({ type: "message", message: { type: "resync", ...at, part: 1, parts: 1, runs, waiting: [] } });
  expect(replica.document.text).toBe("xyzc");
  expect(replica.pending.map(({ op }) => op)).toEqual([
    { type: "ins", parent_id: [3, "X"], id: [4, "new"], value: "c" },
  ]);
});
