/** Gives the editor its styles without a `<style>` element, which the page's content security policy forbids. */

import { StyleModule } from "style-mod";

/** Makes CodeMirror's style modules arrive as constructed sheets. To be called before the first view is made. */
export function adoptEditorStyles(): void {
  const sheets = new Map<StyleModule, CSSStyleSheet>();
  StyleModule.mount = (root, modules) => {
    const wanted = modules instanceof StyleModule ? [modules] : modules;
    for (const module of wanted) {
      if (!sheets.has(module)) {
        const sheet = new CSSStyleSheet();
        sheet.replaceSync(module.getRules());
        sheets.set(module, sheet);
      }
    }
    // Later modules take precedence over earlier ones, and those asked for now over those of before.
    const rest = [...sheets.keys()].filter((module) => !wanted.includes(module));
    const all = [...rest, ...wanted].flatMap((module) => sheets.get(module) ?? []);
    const target: DocumentOrShadowRoot = root;
    target.adoptedStyleSheets = all;
  };
}
