/** Records as a database gives them back: checked before they are believed. */

import type { SavedRekey } from "./machine.ts";
import type { Op } from "./op.ts";
import type { Head, Kept, Numbered } from "./store.ts";

/** The format of the records that are written. One of a newer format is left to newer programs. */
export const FORMAT = 1;

/** A head as it is kept. */
export interface HeadRow {
  readonly doc: string;
  readonly client: string;
  readonly format: number;
  readonly head: Head;
}

/** An operation as it is kept. */
export interface OperationRow extends Numbered {
  readonly doc: string;
  readonly client: string;
}

/**
 * The record made of a head and its operations by number. Throws an error that says what is wrong with it.
 */
export function readRecord(headRow: unknown, operationRows: readonly unknown[]): Kept {
  if (!isObject(headRow)) throw new Error("a record is not an object");
  if (headRow.format !== FORMAT) throw new Error(`a record has format ${String(headRow.format)}, not ${FORMAT}`);
  const { head } = headRow;
  if (!isHead(head)) throw new Error("the head of a record is damaged");
  return { head, operations: operationRows.map(readOperation) };
}

/** What the operation says is looked at by whoever takes the record up. */
function readOperation(row: unknown): Numbered {
  if (!isObject(row) || !isCount(row.number)) throw new Error("an operation is damaged");
  return { number: row.number, op: row.op as Op };
}

type FieldName =
  | "attempt"
  | "client"
  | "clock"
  | "format"
  | "head"
  | "identity"
  | "is_doubtful"
  | "nextNumber"
  | "number"
  | "op"
  | "refused"
  | "rekey"
  | "secret";

/** What an object may hold that records are made of. */
type Fields = Partial<Record<FieldName, unknown>>;

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function isHead(head: unknown): head is Head {
  if (!isObject(head) || !isObject(head.identity)) return false;
  const { identity, attempt, nextNumber, clock, rekey } = head;
  const isIdentity = isText(identity.client) && isText(identity.secret);
  return isIdentity && [attempt, nextNumber, clock].every(isCount) && (rekey === undefined || isRekey(rekey));
}

function isRekey(rekey: unknown): rekey is SavedRekey {
  if (!isObject(rekey) || typeof rekey.is_doubtful !== "boolean" || !Array.isArray(rekey.refused)) return false;
  return rekey.refused.every((each) => Array.isArray(each) && isCount(each[0]) && typeof each[1] === "string");
}
