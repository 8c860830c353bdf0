/** What the page says, as sentences for people. */

import type { Status } from "../src/machine.ts";
import type { Durability } from "../src/message.ts";

/** What the page knows about edits that are not durable yet. */
export interface Saving {
  readonly status: Status;
  readonly unsaved: number;
  /** What saved means to the server; not known before the first join. */
  readonly durability: Durability | undefined;
  /** Whether pending edits survive a reload. */
  readonly isStored: boolean;
}

/** The connection in a word or two. */
export function connectionWords(status: Status): string {
  switch (status.state) {
    case "live":
      return "Live";
    case "connecting":
      return "Connecting…";
    case "offline":
      return "Offline";
    case "ended":
      return "Ended";
  }
}

/** Where the user's edits are. */
export function savingWords({ status, unsaved, durability, isStored }: Saving): string {
  const edits = `${unsaved.toLocaleString("en")} ${unsaved === 1 ? "edit" : "edits"}`;
  if (status.state === "live") {
    if (unsaved > 0) {
      return edits.replace(" ", " unsaved ");
    }
    return durability === "memory" ? "All changes received, kept in memory only" : "All changes saved";
  }
  if (unsaved === 0) {
    return "Nothing unsaved";
  }
  return isStored ? `${edits} kept in this browser` : `${edits} not kept over a reload`;
}

/** What is told to those who cannot see that the connection changed; empty where nothing is worth a word. */
export function connectionNews(status: Status, wasJoined: boolean): string {
  switch (status.state) {
    case "live":
      return wasJoined ? "Connected again." : "Connected. You can write.";
    case "connecting":
      return "";
    case "offline":
      return wasJoined ? "Offline. You can go on writing." : "The server cannot be reached.";
    case "ended":
      return `The connection has ended. ${endWords(status.reason)}`;
  }
}

/** Why the client gave up, and what to do. */
export function endWords(reason: string): string {
  const why = END_WORDS[reason] ?? refusalWords(reason);
  return `${why} Reload the page to go on; what is shown here can still be copied or downloaded.`;
}

/** Why the server refused an edit. */
export function refusalWords(code: string): string {
  return REFUSAL_WORDS[code] ?? `The server refused it (${code}).`;
}

const END_WORDS: Readonly<Record<string, string>> = {
  taken_over: "The same session was opened from somewhere else.",
  closed: "This page has closed its connection.",
  unsupported_version: "The server and this page do not speak the same version.",
};

const REFUSAL_WORDS: Readonly<Record<string, string>> = {
  document_full: "The document is full: it has reached the size that this server allows.",
  op_too_large: "It is larger than this server takes in one piece. Try inserting it in parts.",
  message_too_big: "It is larger than this server takes in one piece. Try inserting it in parts.",
  malformed: "The server could not read it.",
  wrong_document: "It belongs to another document.",
  wrong_client: "It belongs to another session.",
  unknown_reference: "The place that it belongs to is no longer in the document.",
};
