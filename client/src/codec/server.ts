/** What the server says, read: accepted or refused exactly as by the reference's `decode_server`. */

import { deletion, opCount } from "../edit.ts";
import { INTEGER_MAX } from "../id.ts";
import { type Json, parse, refuse } from "../json.ts";
import type { Echo, HelloAck, Limits, ResyncText, Run, ServerMessage } from "../message.ts";
import { type Edit, type ElementId, type Op, type Retire, ROOT } from "../op.ts";
import { scalarCount } from "../text.ts";

/** Most bytes of a message: the default `message_bytes_max`, and what an echo says around an operation. */
const BYTES_MAX = 2 ** 20 + 1024;
const U32_MAX = 2 ** 32 - 1;
/** The limits that there are; only the first two may be above 32 bits. */
const LIMITS =
  "lamport_jump document_elements message_bytes name_bytes op_count batch_edits inflight waiting_per_client waiting_per_document v1_window v1_expand v1_replay replay terms ring_entries ring_bytes bytes_per_second messages_per_second answers";

type Fields = ReadonlyMap<string, Json>;

/** Reads a message; `undefined` if it is malformed. */
export function decodeServer(frame: string): ServerMessage | undefined {
  try {
    const fields = object(parse(frame));
    return isTooBig(frame) && !fields.has("full_text") ? undefined : message(fields);
  } catch {
    return undefined;
  }
}

/** Reads an operation as a client may ask for it; `undefined` if it is malformed. `text` may be missing. */
export function decodeOp(text: string | undefined): Op | undefined {
  try {
    const op = operation(object(parse(text ?? "")), true);
    return op?.type === "retire" ? undefined : op;
  } catch {
    return undefined;
  }
}

function isTooBig(frame: string): boolean {
  return frame.length * 3 > BYTES_MAX && new TextEncoder().encode(frame).length > BYTES_MAX;
}

function object(json: Json | undefined): Fields {
  return json instanceof Map ? json : refuse();
}

function array(json: Json | undefined): Json[] {
  return Array.isArray(json) ? json : refuse();
}

function string(json: Json | undefined): string {
  return typeof json === "string" ? json : refuse();
}

function integer(json: Json | undefined, min = 0, max = INTEGER_MAX): number {
  return typeof json === "number" && json >= min && json <= max ? json : refuse();
}

/** An optional field, as what is spread into a message: nothing if it is absent. */
function optional<K extends string, T>(fields: Fields, name: K, read: (json: Json | undefined) => T): { [P in K]?: T } {
  return (fields.has(name) ? { [name]: read(fields.get(name)) } : {}) as { [P in K]?: T };
}

function oneOf<T extends string>(json: Json | undefined, ...words: T[]): T {
  return words.find((word) => word === json) ?? refuse();
}

function docName(json: Json | undefined): string {
  const name = string(json);
  return /^(?!\.\.?$)[\w.~:@-]{1,128}$/.test(name) ? name : refuse();
}

function replica(json: Json | undefined): string {
  const name = string(json);
  return name !== "" && name !== ROOT[1] && !/\p{Cc}/u.test(name) ? name : refuse();
}

function term(json: Json | undefined): string {
  const text = string(json);
  return /^[\da-f]{32}$/.test(text) ? text : refuse();
}

/** The term of a number: there is one exactly if the number is not 0. */
function termOf(fields: Fields, serverSeq: number): { term?: string } {
  return fields.has("term") === serverSeq > 0 ? optional(fields, "term", term) : refuse();
}

function atLeastOne(json: Json | undefined): number {
  return integer(json, 1);
}

function message(fields: Fields): ServerMessage {
  const type = string(fields.get("type"));
  const doc_id = docName(fields.get("doc_id"));
  const seq = () => integer(fields.get("server_seq"));
  const id = () => atLeastOne(fields.get("client_msg_id"));
  switch (type) {
    case "hello_ack":
      return helloAck(fields, doc_id, seq());
    case "op_echo":
      return echo(fields, doc_id, seq());
    case "resync":
      return fields.has("state") ? resync(fields, doc_id, seq()) : resyncText(fields, doc_id, seq());
    case "ack":
      return { type, doc_id, client_msg_id: id(), server_seq: seq(), count: atLeastOne(fields.get("count")) };
    case "error":
      return error(fields, doc_id);
    case "synced":
      return { type, doc_id, nonce: integer(fields.get("nonce")), server_seq: seq() };
    default:
      return refuse();
  }
}

function helloAck(fields: Fields, doc_id: string, server_seq: number): HelloAck {
  const ack = { type: "hello_ack", doc_id, server_seq } as const;
  if (!fields.has("protocol")) return ack;
  integer(fields.get("protocol"), 2, 2);
  for (const feature of array(fields.get("features"))) string(feature);
  const named = object(fields.get("limits"));
  const limits: Limits = { inflight_max: 256 };
  for (const [at, name] of LIMITS.split(" ").entries()) {
    const most = at < 2 ? INTEGER_MAX : U32_MAX;
    Object.assign(
      limits,
      optional(named, `${name}_max`, (json) => integer(json, 0, most)),
    );
  }
  const v2 = {
    ...termOf(fields, server_seq),
    epoch: integer(fields.get("epoch")),
    durability: oneOf(fields.get("durability"), "disk", "memory"),
    last: integer(fields.get("last")),
    ...optional(fields, "replaced_last", integer),
    follows: oneOf(fields.get("follows"), "nothing", "replay", "resync"),
    limits,
  };
  return { ...ack, v2 };
}

function echo(fields: Fields, doc_id: string, server_seq: number): Echo {
  const isV2 = fields.has("count");
  const count = isV2 ? atLeastOne(fields.get("count")) : 0;
  const begun = isV2 && fields.has("term") ? term(fields.get("term")) : undefined;
  if (server_seq < (count || 1)) refuse();
  const op = operation(object(fields.get("op")), isV2);
  if (op ? isV2 && count !== opCount(op) : !isV2) refuse();
  const id = op ? fields.get("client_msg_id") : 0;
  const client_msg_id = isV2 && typeof id !== "string" ? integer(id) : string(id);
  const origin_client_id = op ? replica(fields.get("origin_client_id")) : "";
  // All of one shape, and nothing spread: this is read for every keystroke.
  return { type: "op_echo", doc_id, server_seq, origin_client_id, client_msg_id, op, count, term: begun };
}

/** Reads an operation; `undefined` if its type is one that this program does not know. */
function operation(fields: Fields, isV2: boolean): Op | Retire | undefined {
  const type = string(fields.get("type"));
  if (type === "ins" || type === "del") return edit(fields, isV2);
  if (isV2 && type === "batch") {
    const ops = array(fields.get("ops")).map((item) => edit(object(item), true));
    return ops.length > 0 ? { type, ops } : refuse();
  }
  return isV2 && type === "retire" ? { type, client_id: replica(fields.get("client_id")) } : undefined;
}

function edit(fields: Fields, isV2: boolean): Edit {
  const type = oneOf(fields.get("type"), "ins", "del");
  const id = element(fields.get("id"));
  if (type === "del") {
    const len = isV2 && fields.has("len") ? integer(fields.get("len"), 1, U32_MAX) : 1;
    return fits(id, len) ? deletion(id, len) : refuse();
  }
  const parent = array(fields.get("parent_id"));
  const isAtRoot = parent.length === 2 && parent[0] === 0 && parent[1] === ROOT[1];
  const parent_id = isAtRoot ? ROOT : element(parent);
  const value = string(fields.get("value"));
  const count = scalarCount(value);
  // The sequence relies on parents that are older (W-3).
  if (count < 1 || (count > 1 && !isV2) || !fits(id, count) || parent_id[0] >= id[0]) refuse();
  return { type, parent_id, id, value };
}

/** Whether a run of ids ends at the largest Lamport value or before. */
function fits(id: ElementId, count: number): boolean {
  return id[0] + (count - 1) <= INTEGER_MAX;
}

function element(json: Json | undefined): ElementId {
  const [lamport, name, more] = array(json);
  return more === undefined ? [atLeastOne(lamport), replica(name)] : refuse();
}

function resync(fields: Fields, doc_id: string, server_seq: number): ServerMessage {
  const parts = integer(fields.get("parts"), 1, U32_MAX);
  const state = object(fields.get("state"));
  const replicas = array(state.get("replicas")).map(replica);
  return {
    type: "resync",
    doc_id,
    server_seq,
    ...termOf(fields, server_seq),
    part: integer(fields.get("part"), 1, parts),
    parts,
    runs: array(state.get("runs")).map((item) => run(array(item), replicas)),
    waiting: array(state.get("waiting")).map((item) => edit(object(item), true)),
  };
}

function resyncText(fields: Fields, doc_id: string, _serverSeq: number): ResyncText {
  string(fields.get("full_text"));
  return { type: "resync_text", doc_id };
}

/** Reads `[lamport, index into replicas, text or number of tombstones]`. */
function run(items: readonly Json[], replicas: readonly string[]): Run {
  const [lamport, index, json] = items;
  if (items.length !== 3) refuse();
  const name = replicas[integer(index)] ?? refuse();
  const content = typeof json === "string" && json !== "" ? json : integer(json, 1, U32_MAX);
  const id = [atLeastOne(lamport), name] as const;
  return fits(id, typeof content === "string" ? scalarCount(content) : content) ? [id, content] : refuse();
}

function error(fields: Fields, doc_id: string): ServerMessage {
  const retry = oneOf(fields.get("retry"), "never", "rekey", "resync", "after_ms");
  const after = (json: Json | undefined) => integer(json, 0, U32_MAX);
  if (retry === "after_ms") after(fields.get("after_ms"));
  return {
    type: "error",
    doc_id,
    code: string(fields.get("code")),
    retry,
    ...(retry === "after_ms" ? optional(fields, "after_ms", after) : {}),
    message: string(fields.get("message")),
    ...optional(fields, "client_msg_id", atLeastOne),
  };
}
