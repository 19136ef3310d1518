// A search box with a list to choose from: the arrow keys move, Enter chooses, Escape closes.

import { wordsOf } from "./mrkdwn.js";
import { node } from "./nodes.js";

const PAUSE = 150; // milliseconds without typing before a search
let pickers = 0;

/**
 * A picker; *find*(text) resolves to options.
 *
 * *about* are the attributes of its box, *first* is the option chosen at the start, *least* the number of letters that a
 * search needs. `control` fires `change`.
 */
export class Picker {
  constructor({ about, find, first, least }) {
    const id = about.id ?? `picker-${++pickers}`;
    Object.assign(this, { id, find, least, chosen: first, shown: [], active: -1, searches: 0, timer: 0 });
    this.focus = node("input", {
      ...about, id, type: "text", role: "combobox", autocomplete: "off",
      "aria-expanded": "false", "aria-controls": `${id}-list`, "aria-autocomplete": "list",
    });
    this.list = node("ul", { role: "listbox", id: `${id}-list`, class: "picker-list", "aria-label": "Choices", hidden: true });
    this.note = node("p", { class: "picker-note", role: "status" });
    this.control = node("div", { class: "picker" }, this.focus, this.list, this.note);
    this.focus.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.search(), PAUSE);
    });
    this.focus.addEventListener("click", () => this.list.hidden && this.search());
    this.focus.addEventListener("blur", () => this.leave());
    this.focus.addEventListener("change", (event) => event.stopPropagation());
    this.focus.addEventListener("keydown", (event) => {
      if (!this.key(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.settle();
  }

  /** Act on *key*; return false if it is not one of the picker's. */
  key(key) {
    const open = !this.list.hidden;
    if (key === "Escape" && open) this.close();
    else if (key === "ArrowDown") open ? this.mark(this.active + 1) : this.search();
    else if (key === "ArrowUp" && open) this.mark(this.active < 0 ? this.shown.length - 1 : this.active - 1);
    else if (key === "Enter" && open) this.choose(this.shown[Math.max(this.active, 0)].option);
    else return false;
    return true;
  }

  /** Search for the typed letters; a result that comes after a newer search is ignored. */
  async search() {
    const typed = this.focus.value.trim();
    const text = typed === wordsOf(this.chosen?.text) ? "" : typed;
    const search = ++this.searches;
    if (text.length < this.least) {
      this.close();
      this.note.textContent = `Type at least ${this.least} letter${this.least > 1 ? "s" : ""}`;
      return;
    }
    const found = await this.find(text).catch(() => null);
    if (search !== this.searches || document.activeElement !== this.focus) return;
    if (found) this.show(found);
    else this.note.textContent = "The list could not be loaded";
  }

  show(options) {
    this.active = -1;
    this.shown = options.map((option, index) => {
      const line = node("li", { role: "option", id: `${this.id}-${index}`, "aria-selected": "false" }, wordsOf(option.text));
      line.addEventListener("mousedown", (event) => event.preventDefault());
      line.addEventListener("click", () => this.choose(option));
      return { option, line };
    });
    this.list.replaceChildren(...this.shown.map(({ line }) => line));
    this.list.hidden = options.length === 0;
    this.note.textContent = options.length ? "" : "Nothing found";
    this.focus.setAttribute("aria-expanded", String(options.length > 0));
  }

  mark(index) {
    this.active = (index + this.shown.length) % this.shown.length;
    this.shown.forEach(({ line }, at) => line.setAttribute("aria-selected", String(at === this.active)));
    const { line } = this.shown[this.active];
    this.focus.setAttribute("aria-activedescendant", line.id);
    line.scrollIntoView({ block: "nearest" });
  }

  choose(option) {
    this.chosen = option;
    this.close();
    this.settle();
    this.control.dispatchEvent(new Event("change"));
  }

  /** Show the chosen option in the box. */
  settle() {
    this.focus.value = wordsOf(this.chosen?.text);
  }

  close() {
    this.list.hidden = true;
    this.note.textContent = "";
    this.active = -1;
    this.focus.setAttribute("aria-expanded", "false");
    this.focus.removeAttribute("aria-activedescendant");
  }

  /** Forget letters that were typed without a choice; an emptied box clears the choice. */
  leave() {
    this.searches += 1;
    clearTimeout(this.timer);
    this.close();
    if (this.chosen && !this.focus.value.trim()) this.choose(null);
    else this.settle();
  }
}
