/** What the server refused: shown until it is dismissed, so that nobody loses a text. */

import type { ClientEvents } from "../src/index.ts";
import { announce, byId, copyFor, make, makeButton } from "./dom.ts";
import { refusalWords } from "./words.ts";

/** Adds a refused edit to the region of refused texts. */
export function showRefused({ text, code }: ClientEvents["refused"]): void {
  const item = make("li", "refused-item");
  item.dataset.code = code;
  const reason = make("p", "refused-reason", refusalWords(code));
  const actions = make("div", "refused-actions");
  if (text === "") {
    item.append(make("p", "refused-what", "A deletion was not accepted."), reason, actions);
  } else {
    const content = make("pre", "refused-text", text);
    content.tabIndex = 0;
    content.setAttribute("role", "region");
    content.setAttribute("aria-label", "Refused text");
    const copy = makeButton("Copy", (button) => void copyFor(button, text));
    copy.classList.add("refused-copy");
    actions.append(copy);
    item.append(reason, content, actions);
  }
  const dismiss = makeButton("Dismiss", () => {
    item.remove();
    update();
    document.querySelector<HTMLElement>("#refused button, .cm-content")?.focus();
  });
  dismiss.classList.add("quiet");
  actions.append(dismiss);
  byId("refused-list", HTMLUListElement).append(item);
  update();
  announce(`An edit was not accepted. ${refusalWords(code)} Its text is kept on this page.`);
}

function update(): void {
  const count = byId("refused-list", HTMLUListElement).childElementCount;
  byId("refused", HTMLElement).hidden = count === 0;
}
