// The message box: Enter sends, Up recalls an earlier line, "/" shows the commands.

import { node, whileBusy } from "./nodes.js";

/** The message box in *form*; *send*(text) sends a line and resolves when it was answered. */
export class Composer {
  constructor(form, send) {
    Object.assign(this, { form, send, commands: [], sent: [], back: 0 });
    this.box = form.querySelector("[data-testid=composer]");
    this.button = form.querySelector("[data-testid=send]");
    this.hint = form.querySelector("#command-hint");
    this.examples = form.querySelector("#examples");
    this.queue = Promise.resolve();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.sendLine();
    });
    this.box.addEventListener("input", () => this.showHint());
    this.box.addEventListener("keydown", (event) => this.key(event));
  }

  /** Offer *examples* and *commands*; *where* is the name of the channel. */
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

  /** Send the line in the box; lines are sent one after the other. */
  sendLine() {
    const text = this.box.value.trim();
    if (!text) return;
    if (this.sent.at(-1) !== text) this.sent.push(text);
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

  /** Up and Down go through the lines sent before, if the box is empty or has one of them. */
  recall(event) {
    const shown = this.back ? this.sent.at(-this.back) : "";
    if (this.box.value !== shown) return;
    const back = this.back + (event.key === "ArrowUp" ? 1 : -1);
    if (back < 0 || back > this.sent.length) return;
    event.preventDefault();
    this.back = back;
    this.write(back ? this.sent.at(-back) : "");
  }

  /** Tab completes a command if only one begins with these letters. */
  complete(event) {
    const typed = this.box.value;
    const matching = this.commands.filter(({ command }) => command.startsWith(typed) && command !== typed);
    if (!typed.startsWith("/") || matching.length !== 1) return;
    event.preventDefault();
    this.write(`${matching[0].command} `);
  }

  write(line) {
    this.box.value = line;
    this.box.setSelectionRange(line.length, line.length);
    this.showHint();
  }

  /** While the line is a command, show its usage. */
  showHint() {
    const [word] = this.box.value.split(/\s/, 1);
    const whole = /\s/.test(this.box.value);
    const matching = this.commands.filter(({ command }) => (whole ? command === word : command.startsWith(word)));
    const shown = this.box.value.startsWith("/") && matching.length > 0;
    this.hint.hidden = !shown;
    this.hint.replaceChildren(
      ...(shown ? matching : []).map(({ command, usage_hint: usage, description }) =>
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
