/** Shows what the address asks for. */

import { showDocument } from "./document.ts";
import { showHome } from "./home.ts";
import { nameIn } from "./names.ts";

const name = nameIn(location.pathname);
if (name === undefined) {
  showHome();
} else {
  void showDocument(name);
}
