/** What clients say, written. */

import { canonical } from "../edit.ts";
import type { ClientMessage } from "../message.ts";

/**
 * Writes a message. `JSON.stringify` writes the shortest escapes and leaves out what is undefined; the order of the
 * fields is that of the reference.
 */
export function encodeClient(message: ClientMessage): string {
  return JSON.stringify(ordered(message));
}

function ordered(message: ClientMessage): object {
  const { type } = message;
  if (type === "sync") return { type, nonce: message.nonce };
  const { doc_id, client_id, answered, epoch } = message;
  if (type === "op") {
    const { client_msg_id, seen, op } = message;
    return { type, doc_id, client_id, client_msg_id, answered, epoch, seen, op: canonical(op) };
  }
  const { last_seen_server_seq, protocol, client_secret, attempt, term, resync, replaces } = message;
  return {
    type,
    doc_id,
    client_id,
    last_seen_server_seq,
    protocol: { min: protocol.min, max: protocol.max },
    client_secret,
    attempt,
    term,
    answered,
    epoch,
    resync,
    replaces: replaces && { client_id: replaces.client_id, client_secret: replaces.client_secret },
  };
}
