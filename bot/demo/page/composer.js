// Take the line a person writes: Enter sends, Up brings an earlier line back, "/" tells what can be asked.

import { node, whileBusy } from "./nodes.js";

/** The composer in *form*; *send*(text) says a line and answers when it was taken. */
export class Composer {
  constructor(form, send) {
    Object.assign(this, { form, send, commands: [], said: [], back: 0 });
    this.box = form.querySelector("[data-testid=composer]");
    this.button = form.querySelector("[data-testid=send]");
    this.hint = form.querySelector("#command-hint");
    this.examples = form.querySelector("#examples");
    this.queue = Promise.resolve();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.sendLine();
    });
    this.box.addEventListener("input", () => this.tell());
    this.box.addEventListener("keydown", (event) => this.key(event));
  }

  /** Offer *examples* and *commands*, and name the place *where* the line goes. */
  offer({ examples, commands, where }) {
    this.commands = commands;
    this.box.placeholder = `Message ${where}`;
    this.box.setAttribute("aria-label", `Message ${where}`);
    const key = JSON.stringify(examples);
    if (this.examples.dataset.key === key) return;
    this.examples.dataset.key = key;
    this.examples.replaceChildren(
      ...examples.map((line) => {
        const about = { type: "button", class: "example", title: `Send ${line}`, onclick: () => this.sendExample(line) };
        return node("li", {}, node("button", about, line));
      }),
    );
  }

  sendExample(line) {
    this.write(line);
    this.sendLine();
  }

  /** Send what stands in the box; lines go out one after the other, in the order they were written. */
  sendLine() {
    const text = this.box.value.trim();
    if (!text) return;
    if (this.said.at(-1) !== text) this.said.push(text);
    this.back = 0;
    this.write("");
    this.queue = this.queue.then(() => whileBusy(this.button, () => this.send(text)));
  }

  key(event) {
    if (event.isComposing) return;
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.sendLine();
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      this.recall(event);
    } else if (event.key === "Tab" && !event.shiftKey) {
      this.complete(event);
    } else if (event.key === "Escape" && this.box.value) {
      this.hint.hidden = true;
    }
  }

  /** Up and Down walk through the lines sent before, as long as the line in the box is one of them, or empty. */
  recall(event) {
    const standing = this.back ? this.said.at(-this.back) : "";
    if (this.box.value !== standing) return;
    const back = this.back + (event.key === "ArrowUp" ? 1 : -1);
    if (back < 0 || back > this.said.length) return;
    event.preventDefault();
    this.back = back;
    this.write(back ? this.said.at(-back) : "");
  }

  /** Tab finishes a command that was begun and can only be one. */
  complete(event) {
    const begun = this.box.value;
    const fitting = this.commands.filter(({ command }) => command.startsWith(begun) && command !== begun);
    if (!begun.startsWith("/") || fitting.length !== 1) return;
    event.preventDefault();
    this.write(`${fitting[0].command} `);
  }

  write(line) {
    this.box.value = line;
    this.box.setSelectionRange(line.length, line.length);
    this.tell();
  }

  /** While the line is a command, show what it takes. */
  tell() {
    const [word] = this.box.value.split(/\s/, 1);
    const whole = /\s/.test(this.box.value);
    const fitting = this.commands.filter(({ command }) => (whole ? command === word : command.startsWith(word)));
    const shown = this.box.value.startsWith("/") && fitting.length > 0;
    this.hint.hidden = !shown;
    this.hint.replaceChildren(
      ...(shown ? fitting : []).map(({ command, usage_hint: usage, description }) =>
        node(
          "p",
          {},
          node("strong", {}, command),
          " ",
          node("span", { class: "usage" }, usage ?? ""),
          node("span", { class: "hint" }, description ?? ""),
        ),
      ),
    );
  }
}
