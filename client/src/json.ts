/** Reading JSON strictly (docs/protocol.md, section 3): what `JSON.parse` lets pass is refused here. */

import { isWellFormed } from "./text.ts";

/** A value. Objects are maps, so that no key has a meaning of its own; a number that is no integer of the protocol is NaN. */
export type Json = string | number | boolean | null | Json[] | Map<string, Json>;

const KEYS_MAX = 64;
const DEPTH_MAX = 16;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: those that must be escaped are what it looks for.
const NEEDS_PARSER = /[\\\0-\x1f]/;
const WORDS: Readonly<Record<string, Json>> = { true: true, false: false, null: null };

/**
 * Reads a text that is one JSON value.
 *
 * @throws {SyntaxError} if it breaks a rule.
 */
export function parse(text: string): Json {
  const reader = new Reader(text);
  const json = reader.value(1);
  return reader.end() ? json : refuse();
}

/** Ends the reading of a message that breaks a rule. */
export function refuse(): never {
  throw new SyntaxError();
}

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  end(): boolean {
    this.#take(SPACE);
    return this.#at === this.#text.length;
  }

  /** What a sticky pattern matches here. */
  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text)?.[0] ?? refuse();
    this.#at += match.length;
    return match;
  }

  /** Steps over one character behind white space, if it is there; what it is is its code. */
  #skip(code: number): boolean {
    if (this.#text.charCodeAt(this.#at) <= 0x20) this.#take(SPACE);
    const isHere = this.#text.charCodeAt(this.#at) === code;
    if (isHere) this.#at += 1;
    return isHere;
  }

  /** `depth` is the level that an object or array here is on. */
  value(depth: number): Json {
    if (this.#skip(QUOTE)) return this.#string();
    if (this.#skip(OPEN_OBJECT)) return this.#object(depth);
    if (this.#skip(OPEN_ARRAY)) return this.#array(depth);
    const first = this.#text[this.#at] ?? "";
    return first >= "a" ? (WORDS[this.#take(WORD)] as Json) : this.#number();
  }

  #object(depth: number): Json {
    const fields = new Map<string, Json>();
    if (depth > DEPTH_MAX) refuse();
    if (this.#skip(CLOSE_OBJECT)) return fields;
    do {
      const key = this.#skip(QUOTE) ? this.#string() : refuse();
      if (fields.has(key) || fields.size === KEYS_MAX || !this.#skip(COLON)) refuse();
      fields.set(key, this.value(depth + 1));
    } while (this.#skip(COMMA));
    return this.#skip(CLOSE_OBJECT) ? fields : refuse();
  }

  #array(depth: number): Json {
    const items: Json[] = [];
    if (depth > DEPTH_MAX) refuse();
    if (this.#skip(CLOSE_ARRAY)) return items;
    do items.push(this.value(depth + 1));
    while (this.#skip(COMMA));
    return this.#skip(CLOSE_ARRAY) ? items : refuse();
  }

  #number(): number {
    const digits = this.#take(NUMBER);
    const value = Number(digits);
    if (!Number.isFinite(value)) refuse();
    return Number.isSafeInteger(value) && value >= 0 && String(value) === digits ? value : Number.NaN;
  }

  /** The string whose opening quote was just stepped over. */
  #string(): string {
    const start = this.#at;
    let end = start;
    for (;;) {
      end = this.#text.indexOf('"', end);
      if (end < 0) refuse();
      let backslashes = 0;
      while (this.#text[end - 1 - backslashes] === "\\") backslashes += 1;
      if (backslashes % 2 === 0) break;
      end += 1;
    }
    this.#at = end + 1;
    const raw = this.#text.slice(start, end);
    const string: string = NEEDS_PARSER.test(raw) ? JSON.parse(`"${raw}"`) : raw;
    return isWellFormed(string) ? string : refuse();
  }
}
