/** Names of documents: their rule (docs/protocol.md, section 4), addresses, and random ones. */

const LENGTH_MAX = 128;

const FIRST =
  "amber autumn bright calm clear coral early gentle golden green hidden light lunar misty open quiet silver";
const SECOND = "bay brook cedar cloud field forest garden harbor hill island lake meadow moon river shore sky stone";

/** What is wrong with a document's name, as a sentence for people; `undefined` if it is a name. */
export function whatIsWrong(name: string): string | undefined {
  if (name === "") {
    return "A document needs a name.";
  }
  if (name === "." || name === "..") {
    return "A name cannot be just dots like this one.";
  }
  const other = [...name].find((character) => !/^[A-Za-z0-9._~:@-]$/.test(character));
  if (other !== undefined) {
    const shown = /\s/.test(other) ? "a space" : `“${other}”`;
    return `A name cannot contain ${shown}. Letters A–Z, digits and . _ ~ : @ - are fine.`;
  }
  if (name.length > LENGTH_MAX) {
    return `A name has at most ${LENGTH_MAX} characters; this one has ${name.length}.`;
  }
  return undefined;
}

/** The path of a document's page. */
export function pathOf(name: string): string {
  return `/d/${encodeURIComponent(name)}`;
}

/** The name in a document's path, unchecked; `undefined` if the path is not that of a document. */
export function nameIn(path: string): string | undefined {
  if (!path.startsWith("/d/")) {
    return undefined;
  }
  const name = path.slice("/d/".length);
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** A name that is easy to read and that nobody else is likely to draw. */
export function randomName(): string {
  const numbers = crypto.getRandomValues(new Uint32Array(3));
  const pick = (words: string, at: number): string => {
    const list = words.split(" ");
    return list[(numbers[at] ?? 0) % list.length] ?? "";
  };
  const suffix = (numbers[2] ?? 0).toString(36).padStart(7, "0").slice(-6);
  return `${pick(FIRST, 0)}-${pick(SECOND, 1)}-${suffix}`;
}
