/** Messages as JSON text (docs/protocol.md, sections 3 and 7 to 15). */

export { encodeClient } from "./client.ts";
export { decodeOp, decodeServer } from "./server.ts";
