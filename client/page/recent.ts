/** The documents last opened in this browser. */

const KEY = "collab-engine/recent";
const COUNT_MAX = 20;

/** Their names, newest first; none where the browser keeps nothing. */
export function recentNames(): string[] {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(value) ? value.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}

/** Puts a name on top of the list. */
export function remember(name: string): void {
  keep([name, ...recentNames().filter((other) => other !== name)].slice(0, COUNT_MAX));
}

/** Takes a name off the list; the document itself stays. */
export function forget(name: string): void {
  keep(recentNames().filter((other) => other !== name));
}

function keep(names: readonly string[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(names));
  } catch {
    // A browser that keeps nothing has no list; everything else works.
  }
}
