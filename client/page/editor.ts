/** The editor: CodeMirror for plain text, bound to the client. */

import { defaultKeymap, history, historyKeymap, insertNewline } from "@codemirror/commands";
import { highlightSelectionMatches, search, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, type Extension, type TransactionSpec } from "@codemirror/state";
import { EditorView, highlightSpecialChars, keymap, placeholder } from "@codemirror/view";
import type { Client } from "../src/index.ts";
import { Binding, isRemote, wholeCharacters, withPlainBreaks } from "./binding.ts";
import { make } from "./dom.ts";
import { adoptEditorStyles } from "./styles.ts";

/** How long CodeMirror may take to read what an input method left in the DOM, in milliseconds. */
const COMPOSITION_SETTLES_MS = 60;

/** What the page does with its editor. */
export interface Editor {
  readonly view: EditorView;
  /** Lets the user write, or not. */
  setWritable(isWritable: boolean): void;
  /** Compares the whole texts, and makes the editor's that of the client if they should ever differ. */
  compare(): void;
}

const writable: Extension = placeholder("Write something…");
const readOnly: Extension = [EditorState.readOnly.of(true), EditorView.editable.of(false)];

/** Makes an editor for the client's text inside `parent`. It is read-only until it is told otherwise. */
export function createEditor(client: Client, parent: HTMLElement): Editor {
  adoptEditorStyles();
  const binding = new Binding(client);
  const access = new Compartment();
  /** Whether the client is being told of what was typed here: its echo of that is no news. */
  let isForwarding = false;
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: client.text,
      extensions: [
        EditorState.lineSeparator.of("\n"),
        wholeCharacters,
        plainText(client.doc),
        access.of(readOnly),
        EditorView.updateListener.of((update) => {
          for (const transaction of update.transactions) {
            if (transaction.docChanged && !transaction.annotation(isRemote)) {
              isForwarding = true;
              try {
                binding.forward(transaction.changes);
              } finally {
                isForwarding = false;
              }
            }
          }
        }),
      ],
    }),
  });
  const dispatch = (spec: TransactionSpec | undefined): void => {
    if (spec !== undefined) {
      view.dispatch(spec);
    }
  };
  let isSettling = false;
  let isComparing = false;
  const settle = (): void => {
    isSettling = false;
    if (!disturbsComposition(view, binding)) {
      dispatch(binding.takeLacking());
    }
    if (!binding.isLevel(view.state.doc) || (isComparing && binding.lacking === undefined)) {
      isComparing = false;
      const repair = binding.repair(view.state.doc);
      if (repair !== undefined) {
        console.error("the editor's text had come apart from the client's, and was made equal again");
        dispatch(repair);
      }
    }
  };
  // One step of the client may tell several changes, and its text is ahead until the last is told. So the editor
  // follows, and is held against the text, when all of them are.
  const settleSoon = (): void => {
    if (!isSettling) {
      isSettling = true;
      queueMicrotask(settle);
    }
  };
  client.on("change", ({ deltas, origin }) => {
    // Local ones that the editor did not ask for were made by somebody else on this page: from the console, say.
    if (origin === "remote" || !isForwarding) {
      binding.receive(deltas, view.state.doc);
    }
    settleSoon();
  });
  view.contentDOM.addEventListener("compositionend", () => setTimeout(settle, COMPOSITION_SETTLES_MS));
  return {
    view,
    setWritable: (isWritable) => view.dispatch({ effects: access.reconfigure(isWritable ? writable : readOnly) }),
    compare: () => {
      isComparing = true;
      settleSoon();
    },
  };
}

/**
 * Whether what the editor lacks would end what an input method is composing: its line is one piece of the DOM, and a
 * change of it takes the composed text away from under the input method.
 */
function disturbsComposition(view: EditorView, binding: Binding): boolean {
  if (!view.compositionStarted || binding.lacking === undefined) {
    return false;
  }
  const line = view.state.doc.lineAt(view.state.selection.main.head);
  return binding.lacking.touchesRange(line.from, line.to) !== false;
}

function plainText(doc: string): Extension {
  return [
    history(),
    search({ top: true }),
    highlightSelectionMatches({ minSelectionLength: 2 }),
    highlightSpecialChars({ render: specialCharacter }),
    EditorView.lineWrapping,
    EditorView.clipboardInputFilter.of(withPlainBreaks),
    EditorView.contentAttributes.of({
      "aria-label": `Text of ${doc}`,
      "aria-multiline": "true",
      autocapitalize: "sentences",
      autocorrect: "on",
      spellcheck: "true",
    }),
    // Before the default, which indents, and for that eats white space, carriage returns included.
    keymap.of([
      { key: "Enter", run: insertNewline, shift: insertNewline },
      ...searchKeymap,
      ...historyKeymap,
      ...defaultKeymap,
    ]),
  ];
}

/** A control character as a sign. A carriage return by its name: few fonts have its picture. */
function specialCharacter(code: number, description: string | null, picture: string): HTMLElement {
  const sign = make("span", "cm-specialChar", code === 13 ? "CR" : picture);
  sign.title = description ?? "";
  sign.setAttribute("role", "img");
  sign.setAttribute("aria-label", description ?? "control character");
  return sign;
}
