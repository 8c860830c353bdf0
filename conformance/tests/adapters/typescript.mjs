// The TypeScript client as CLIENTS.md wants a client under test: commands come in, reports go out, a line each.

import { createInterface } from "node:readline";
import { Client } from "../../../client/dist/index.js";

let client;
let synced = 0;
const refused = [];

/** Where a position in scalar values is in UTF-16 units. */
const units = (at) => [...client.text].slice(0, at).join("").length;

const commands = {
  start({ url, doc, heartbeat_ms: heartbeatMs = 20_000 }) {
    client = new Client({ url, doc, heartbeatMs });
    client.on("refused", ({ text }) => refused.push(text));
  },
  insert({ at, text }) {
    client.insert(units(at), text);
  },
  delete({ at, len }) {
    client.delete(units(at), units(at + len) - units(at));
  },
  sync() {
    client.saved().then(
      () => synced++,
      () => {},
    );
  },
  report() {
    const { text, unsaved: pending, status } = client;
    console.log(JSON.stringify({ text, pending, status: status.state, refused, synced }));
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  commands[command.do](command);
}
process.exit(0);
