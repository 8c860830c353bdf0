/** Small helpers around the DOM. Text goes in as text only. */

/** The element with this id, of this kind; an error if the page has none. */
export function byId<T extends HTMLElement>(id: string, kind: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) {
    throw new Error(`the page has no #${id}`);
  }
  return element;
}

/** A new element with a class and a text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  text = "",
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

/** A new button that does something. */
export function makeButton(text: string, onClick: (button: HTMLButtonElement) => void): HTMLButtonElement {
  const button = make("button", "button", text);
  button.type = "button";
  button.addEventListener("click", () => onClick(button));
  return button;
}

/** Shows one of the views that index.html keeps as templates. */
export function showView(id: string): void {
  byId("app", HTMLElement).replaceChildren(byId(id, HTMLTemplateElement).content.cloneNode(true));
}

/** Puts a text on the clipboard; answers whether that worked. */
export async function copyText(text: string): Promise<boolean> {
  try {
    // Missing where the page did not come over a secure connection.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const before = document.activeElement;
  const area = make("textarea", "visually-hidden");
  area.value = text;
  area.readOnly = true;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  if (before instanceof HTMLElement) {
    before.focus();
  }
  return isCopied;
}

/** Copies a text for a button, whose label says for a moment how that went. */
export async function copyFor(label: HTMLElement, text: string): Promise<void> {
  label.dataset.label ??= label.textContent;
  label.textContent = (await copyText(text)) ? "Copied" : "Could not copy";
  announce(label.textContent);
  setTimeout(() => {
    label.textContent = label.dataset.label ?? "";
  }, 2000);
}

/** Tells those who listen to the page what they cannot see. */
export function announce(text: string): void {
  byId("announcer", HTMLElement).textContent = text;
}
