// Draw a box to search in and choose from: the keyboard's arrows move, Enter takes, Escape closes.

import { wordsOf } from "./mrkdwn.js";
import { icon, node } from "./nodes.js";

const WAIT = 150;
let pickers = 0;

/**
 * A picker, whose *find*(text) answers options or groups of them.
 *
 * *about* are the attributes of its box, *first* the options chosen already, *least* the letters needed before
 * anything is looked for, *most* how many may be chosen where *multi*. `control` fires `change`.
 */
export class Picker {
  constructor({ about, find, first, multi, least, most }) {
    const id = about.id ?? `picker-${++pickers}`;
    Object.assign(this, { id, find, multi, least, most, shown: [], active: -1, asked: 0, timer: 0 });
    this.chosen = multi ? [...first] : first.slice(0, 1);
    this.focus = node("input", {
      ...about, id, type: "text", role: "combobox", autocomplete: "off",
      "aria-expanded": "false", "aria-controls": `${id}-list`, "aria-autocomplete": "list",
    });
    this.list = node("ul", { role: "listbox", id: `${id}-list`, class: "picker-list", "aria-label": "Choices", hidden: true });
    this.note = node("p", { class: "picker-note", role: "status" });
    this.chips = node("ul", { class: "chips", "aria-label": "Chosen" });
    this.control = node("div", { class: "picker" }, multi && this.chips, this.focus, this.list, this.note);
    this.listen();
    this.settle();
  }

  listen() {
    this.focus.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.look(), WAIT);
    });
    this.focus.addEventListener("click", () => this.list.hidden && this.look());
    this.focus.addEventListener("blur", () => this.leave());
    this.focus.addEventListener("change", (event) => event.stopPropagation());
    this.focus.addEventListener("keydown", (event) => {
      if (!this.key(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  /** Act on *key*; true where it was one of ours. */
  key(key) {
    const open = !this.list.hidden;
    if (key === "Escape" && open) this.close();
    else if (key === "ArrowDown") open ? this.mark(this.active + 1) : this.look();
    else if (key === "ArrowUp" && open) this.mark(this.active < 0 ? this.shown.length - 1 : this.active - 1);
    else if (key === "Enter" && open) this.take(this.shown[Math.max(this.active, 0)].option);
    else if (key === "Backspace" && this.multi && !this.focus.value && this.chosen.length) this.drop(this.chosen.at(-1));
    else return false;
    return true;
  }

  /** Ask for what fits the typed letters; an answer that comes after a newer question is left alone. */
  async look() {
    const typed = this.focus.value.trim();
    const text = !this.multi && typed === wordsOf(this.chosen[0]?.text) ? "" : typed;
    const turn = ++this.asked;
    if (text.length < this.least) {
      this.close();
      this.note.textContent = `Type at least ${this.least} letter${this.least > 1 ? "s" : ""}`;
      return;
    }
    const found = await this.find(text).catch(() => null);
    if (turn !== this.asked || document.activeElement !== this.focus) return;
    if (found) this.show(found);
    else this.note.textContent = "The list could not be loaded";
  }

  show(found) {
    this.shown = [];
    this.active = -1;
    this.list.replaceChildren(...found.map((one) => (one.options ? this.group(one) : this.line(one))));
    this.list.hidden = this.shown.length === 0;
    this.note.textContent = this.shown.length ? "" : "Nothing found";
    this.focus.setAttribute("aria-expanded", String(this.shown.length > 0));
  }

  line(option) {
    const words = [wordsOf(option.text), option.description && node("span", { class: "hint" }, wordsOf(option.description))];
    const made = node("li", { role: "option", id: `${this.id}-${this.shown.length}`, "aria-selected": "false" }, ...words);
    made.addEventListener("mousedown", (event) => event.preventDefault());
    made.addEventListener("click", () => this.take(option));
    this.shown.push({ option, line: made });
    return made;
  }

  group({ label, options }) {
    const lines = node("ul", { role: "presentation" }, ...options.map((option) => this.line(option)));
    const name = node("span", { class: "group-name", "aria-hidden": "true" }, wordsOf(label));
    return node("li", { role: "group", "aria-label": wordsOf(label) }, name, lines);
  }

  mark(index) {
    this.active = (index + this.shown.length) % this.shown.length;
    this.shown.forEach(({ line }, at) => line.setAttribute("aria-selected", String(at === this.active)));
    const { line } = this.shown[this.active];
    this.focus.setAttribute("aria-activedescendant", line.id);
    line.scrollIntoView({ block: "nearest" });
  }

  take(option) {
    const again = this.chosen.some((one) => one.value === option.value);
    if (!this.multi) this.chosen = [option];
    else if (!again && this.chosen.length < this.most) this.chosen.push(option);
    this.close();
    this.changed();
  }

  drop(option) {
    this.chosen = this.chosen.filter((one) => one !== option);
    this.changed();
    this.focus.focus();
  }

  changed() {
    this.settle();
    this.control.dispatchEvent(new Event("change"));
  }

  settle() {
    this.chips.hidden = this.chosen.length === 0;
    this.chips.replaceChildren(...this.chosen.map((option) => this.chip(option)));
    this.focus.value = this.multi ? "" : wordsOf(this.chosen[0]?.text);
  }

  chip(option) {
    const remove = { type: "button", "aria-label": `Remove ${wordsOf(option.text)}`, onclick: () => this.drop(option) };
    return node("li", {}, wordsOf(option.text), node("button", remove, icon("close")));
  }

  close() {
    this.list.hidden = true;
    this.note.textContent = "";
    this.active = -1;
    this.focus.setAttribute("aria-expanded", "false");
    this.focus.removeAttribute("aria-activedescendant");
  }

  /** The box is left: what was typed and not taken is forgotten, an emptied box means none. */
  leave() {
    this.asked += 1;
    clearTimeout(this.timer);
    const emptied = !this.multi && !this.focus.value.trim() && this.chosen.length > 0;
    if (emptied) this.chosen = [];
    this.close();
    if (emptied) this.changed();
    else this.settle();
  }
}
