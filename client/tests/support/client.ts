/** Clients of a fake server. */

import { Client, type ClientEvents, type ClientOptions, type Delta } from "../../src/index.ts";
import type { FakeServer } from "./server.ts";

export type Told = { [K in keyof ClientEvents]: readonly [K, ClientEvents[K]] }[keyof ClientEvents];

const TYPES = ["change", "status", "pending", "refused", "persistence", "unreadable"] as const;

/** A client, and everything that it told but for its frames. */
export function clientOf(server: FakeServer, options: Partial<ClientOptions> = {}): { client: Client; told: Told[] } {
  const client = new Client({ url: "ws://localhost/ws", doc: server.doc, webSocket: server.open, ...options });
  const told: Told[] = [];
  for (const type of TYPES) client.on(type, (event) => told.push([type, event] as Told));
  return { client, told };
}

/** The events of one type, in order. */
export function only<K extends keyof ClientEvents>(told: readonly Told[], type: K): ClientEvents[K][] {
  return told.filter((each) => each[0] === type).map((each) => each[1] as ClientEvents[K]);
}

/** The text that the deltas make of another. */
export function apply(text: string, deltas: readonly Delta[]): string {
  return deltas.reduce((before, delta) => {
    const end = delta.type === "insert" ? delta.at : delta.at + delta.len;
    return before.slice(0, delta.at) + (delta.type === "insert" ? delta.text : "") + before.slice(end);
  }, text);
}
