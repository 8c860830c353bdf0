/** The first page: a new document, or one of those opened lately. */

import { announce, byId, make, makeButton, showView } from "./dom.ts";
import { pathOf, randomName, whatIsWrong } from "./names.ts";
import { forget, recentNames } from "./recent.ts";

/** Shows the first page. */
export function showHome(): void {
  showView("home-view");
  const input = byId("name", HTMLInputElement);
  const problem = byId("name-problem", HTMLElement);
  const check = (): boolean => {
    const wrong = input.value === "" ? undefined : whatIsWrong(input.value);
    problem.textContent = wrong ?? "";
    input.setAttribute("aria-invalid", String(wrong !== undefined));
    return wrong === undefined;
  };
  input.addEventListener("input", () => {
    // What was wrong is told when the form is sent; from then on it is told as soon as it is mended.
    if (problem.textContent !== "") {
      check();
    }
  });
  byId("new", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    if (check()) {
      location.assign(pathOf(input.value || randomName()));
    } else {
      input.focus();
    }
  });
  showRecent();
  input.focus();
}

function showRecent(): void {
  const names = recentNames().filter((name) => whatIsWrong(name) === undefined);
  byId("recent-section", HTMLElement).hidden = names.length === 0;
  byId("recent", HTMLUListElement).replaceChildren(...names.map(recentItem));
}

function recentItem(name: string): HTMLLIElement {
  const item = make("li");
  const link = make("a", "", name);
  link.href = pathOf(name);
  const remove = makeButton("Remove", () => {
    forget(name);
    const at = [...(item.parentElement?.children ?? [])].indexOf(item);
    showRecent();
    announce(`${name} was removed from the list`);
    const buttons = document.querySelectorAll<HTMLButtonElement>("#recent button");
    (buttons[Math.min(at, buttons.length - 1)] ?? byId("name", HTMLInputElement)).focus();
  });
  remove.classList.add("quiet");
  remove.setAttribute("aria-label", `Remove ${name} from the list`);
  item.append(link, remove);
  return item;
}
