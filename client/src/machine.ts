/** What goes into the replica's state machine and what comes out of it: the alphabet of `replica.ts`. */

import type { ClientMessage, ServerMessage } from "./message.ts";
import type { Op } from "./op.ts";

/** Who a replica instance is. Both parts hold at least 64 random bits. */
export interface Identity {
  readonly client: string;
  readonly secret: string;
}

/** A change of the visible text; positions and lengths in UTF-16 units, each as of after the changes before it. */
export type Delta =
  | { readonly type: "insert"; readonly at: number; readonly text: string }
  | { readonly type: "delete"; readonly at: number; readonly len: number };

/** The state of the connection. `ended` comes with the reason: the client has given up, what is pending is kept. */
export type Status =
  | { readonly state: "offline" }
  | { readonly state: "connecting" }
  | { readonly state: "live" }
  | { readonly state: "ended"; readonly reason: string };

/** What can happen to a replica. Positions are in UTF-16 units; one inside a surrogate pair is not a position. */
export type Input =
  | { readonly type: "start" }
  | { readonly type: "insert"; readonly at: number; readonly text: string }
  | { readonly type: "delete"; readonly at: number; readonly len: number }
  | { readonly type: "sync"; readonly nonce: number }
  | { readonly type: "opened"; readonly fresh: Identity }
  | { readonly type: "message"; readonly message: ServerMessage }
  | { readonly type: "malformed" }
  | { readonly type: "closed"; readonly code: number | undefined; readonly jitter: number }
  | { readonly type: "timer_fired"; readonly timer: number };

/** What the application is told. */
export type ReplicaEvent =
  | { readonly type: "changed"; readonly deltas: readonly Delta[] }
  | { readonly type: "replaced" }
  | { readonly type: "status"; readonly status: Status }
  | { readonly type: "acknowledged"; readonly op: Op }
  | { readonly type: "refused"; readonly op: Op; readonly code: string }
  | { readonly type: "synced"; readonly nonce: number }
  | { readonly type: "invalid_edit" };

/** What the caller carries out, in order. */
export type Output =
  | { readonly type: "connect" }
  | { readonly type: "send"; readonly message: ClientMessage }
  | { readonly type: "disconnect" }
  | { readonly type: "set_timer"; readonly timer: number; readonly after_ms: number }
  | { readonly type: "event"; readonly event: ReplicaEvent };

/** A rekey that was decided: messages that were refused for good, with their codes. */
export interface SavedRekey {
  readonly refused: readonly (readonly [number: number, code: string])[];
  /** The document knows more of this identity than the identity itself: ids decide what was accepted. */
  readonly is_doubtful: boolean;
}

/** What a replica must find again after its program ended, to lose nothing and to break no rule. */
export interface Saved {
  readonly identity: Identity;
  /** The `attempt` of its last `hello`. */
  readonly attempt: number;
  /** The number of its next own operation. */
  readonly next_number: number;
  /** The largest Lamport value it minted under this identity. */
  readonly clock: number;
  /** Own operations that are not acknowledged, numbered without gaps up to `next_number` − 1. */
  readonly pending: readonly (readonly [number: number, op: Op])[];
  readonly rekey?: SavedRekey;
}
