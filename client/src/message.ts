/** The messages of protocol version 2, in the shape in which they travel (docs/protocol.md). */

import type { Edit, ElementId, Op, Retire } from "./op.ts";

/** Joins a document; the first message of every connection. */
export interface Hello {
  readonly type: "hello";
  readonly doc_id: string;
  readonly client_id: string;
  readonly last_seen_server_seq: number;
  readonly protocol: { readonly min: 1; readonly max: 2 };
  readonly client_secret: string;
  readonly attempt: number;
  readonly term?: string;
  readonly answered: number;
  readonly epoch: number;
  readonly resync?: true;
  readonly replaces?: { readonly client_id: string; readonly client_secret: string };
}

/** Asks for an operation. */
export interface OpMessage {
  readonly type: "op";
  readonly doc_id: string;
  readonly client_id: string;
  readonly client_msg_id: number;
  readonly answered: number;
  readonly epoch: number;
  readonly seen: number;
  readonly op: Op;
}

/** Asks to be told when everything before it is durable. */
export interface Sync {
  readonly type: "sync";
  readonly nonce: number;
}

/** What a client says. */
export type ClientMessage = Hello | OpMessage | Sync;

/** Where the server keeps what it calls durable: on its disk, or in memory until it stops. */
export type Durability = "disk" | "memory";

/** Limits of a server; what it does not name is no lower than what clients make by themselves. */
export interface Limits {
  readonly message_bytes_max?: number;
  readonly op_count_max?: number;
  readonly batch_edits_max?: number;
  readonly inflight_max: number;
}

/** Answers `hello`. Without `protocol` it is of version 1, and the rest is not there to be read. */
export interface HelloAck {
  readonly type: "hello_ack";
  readonly doc_id: string;
  readonly server_seq: number;
  readonly v2?: {
    readonly term?: string;
    readonly epoch: number;
    readonly durability: Durability;
    readonly last: number;
    readonly replaced_last?: number;
    readonly follows: "nothing" | "replay" | "resync";
    /** Those that a client keeps to (LIM-2). */
    readonly limits: Limits;
  };
}

/** A numbered entry. `op` is `undefined` if its type is one that this program does not know. */
export interface Echo {
  readonly type: "op_echo";
  readonly doc_id: string;
  readonly server_seq: number;
  readonly origin_client_id: string;
  readonly client_msg_id: number | string;
  readonly op: Op | Retire | undefined;
  readonly count: number;
  readonly term?: string | undefined;
}

/** Elements in document order: visible ones as their text, tombstones as their number. */
export type Run = readonly [first: ElementId, content: string | number];

/** The state, or a part of it. Runs name their replica here, not its index as on the wire. */
export interface Resync {
  readonly type: "resync";
  readonly doc_id: string;
  readonly server_seq: number;
  readonly term?: string;
  readonly part: number;
  readonly parts: number;
  readonly runs: readonly Run[];
  readonly waiting: readonly Edit[];
}

/** Answers a resubmission, or an operation that a resync covers. */
export interface Ack {
  readonly type: "ack";
  readonly doc_id: string;
  readonly client_msg_id: number;
  readonly server_seq: number;
  readonly count: number;
}

/** What a refused client may do. */
export type Retry = "never" | "rekey" | "resync" | "after_ms";

/** A refusal; the connection is closed behind it. */
export interface ErrorMessage {
  readonly type: "error";
  readonly doc_id: string;
  readonly code: string;
  readonly retry: Retry;
  readonly after_ms?: number;
  readonly message: string;
  readonly client_msg_id?: number;
}

/** Answers `sync`. */
export interface Synced {
  readonly type: "synced";
  readonly doc_id: string;
  readonly nonce: number;
  readonly server_seq: number;
}

/** A version 1 `resync`: never expected, but a message of the protocol. */
export interface ResyncText {
  readonly type: "resync_text";
  readonly doc_id: string;
}

/** What the server says, as `decodeServer` gives it. */
export type ServerMessage = HelloAck | Echo | Resync | ResyncText | Ack | ErrorMessage | Synced;
