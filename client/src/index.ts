/** The client of collab-engine: a text that several people edit at once, over WebSocket. */

export { Client, type ClientEvents, type ClientOptions } from "./client.ts";
export type { WebSocketEvent, WebSocketLike } from "./connection.ts";
export { openStore, type StoreOptions } from "./indexeddb.ts";
export type { Delta, Identity, SavedRekey, Status } from "./machine.ts";
export type { Durability } from "./message.ts";
export type { Batch, Delete, Edit, ElementId, Insert, Op } from "./op.ts";
export type { Head, Kept, Numbered, Slot, Store, Update } from "./store.ts";
