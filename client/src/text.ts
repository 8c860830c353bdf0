/** Unicode scalar values in JavaScript's strings of UTF-16 units. */

const SURROGATE = /[\ud800-\udfff]/;
const LONE_SURROGATE = /\p{Cs}/u;

/** Number of Unicode scalar values; a lone surrogate counts as one. */
export function scalarCount(text: string): number {
  if (!SURROGATE.test(text)) return text.length;
  let count = 0;
  for (let at = 0; at < text.length; at += widthAt(text, at)) count += 1;
  return count;
}

/** Number of UTF-16 units of the first `count` scalar values; those of the whole text if it has no more. */
export function unitCount(text: string, count: number): number {
  if (!SURROGATE.test(text)) return Math.min(count, text.length);
  let at = 0;
  for (let left = count; left > 0 && at < text.length; left -= 1) at += widthAt(text, at);
  return at;
}

/** Whether every surrogate has its partner, so that the text is one of Unicode scalar values. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

/** Whether a unit is the second one of a surrogate pair, given that the text is well formed. */
export function isInsidePair(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit < 0xe000;
}

function widthAt(text: string, at: number): number {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}
