/** What clients say, written. */

import type { ClientMessage } from "../message.ts";

/**
 * Writes a message. `JSON.stringify` writes the shortest escapes and leaves out what is undefined. The fields keep the
 * order in which the replica made them, and `decodeOp` those of an operation: that of the reference.
 */
export function encodeClient(message: ClientMessage): string {
  return JSON.stringify(message);
}
