// The CRM panel: send a signed sample push, show the raw request and answer, and put the clock forward.

import { formatDate } from "./dates.js";
import { node, whileBusy } from "./nodes.js";

/** The panel beside the messages; *act*(what, body) calls the server. */
export class PushPanel {
  constructor(panel, act) {
    Object.assign(this, { panel, act, pushes: [] });
    this.choice = panel.querySelector("#push-choice");
    this.body = panel.querySelector("#push-body");
    this.problem = panel.querySelector("#push-problem");
    this.result = panel.querySelector("#push-result");
    this.sendButton = panel.querySelector("[data-testid=push-send]");
    this.now = panel.querySelector("#clock-now");
    this.choice.addEventListener("change", () => this.fill());
    this.body.addEventListener("input", () => this.check());
    panel.querySelector("#push-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.send();
    });
    for (const button of panel.querySelectorAll("[data-seconds]")) {
      const forward = () => act("clock", { seconds: Number(button.dataset.seconds) });
      button.addEventListener("click", () => whileBusy(button, forward));
    }
  }

  /** Offer *pushes*, and show the time in the workspace. */
  offer(pushes, scene) {
    this.now.textContent = formatDate(new Date(scene.now) / 1000, "{date_short}, {time}", scene);
    const key = JSON.stringify(pushes);
    if (key === this.key) return;
    this.key = key;
    const chosen = this.choice.value;
    this.pushes = pushes;
    this.choice.replaceChildren(...pushes.map(({ id, title }) => node("option", { value: id }, title)));
    if (pushes.some(({ id }) => id === chosen)) this.choice.value = chosen;
    else this.fill();
  }

  fill() {
    const push = this.pushes.find(({ id }) => id === this.choice.value);
    this.body.value = push ? pretty(push.body) : "";
    this.check();
  }

  /** Show what is wrong with the JSON; it can be sent anyway, to see the answer. */
  check() {
    try {
      JSON.parse(this.body.value);
      this.problem.textContent = "";
    } catch (error) {
      this.problem.textContent = `Not JSON (you can send it anyway): ${error.message}`;
    }
  }

  async send() {
    const push = () => this.act("push", { body: this.body.value });
    const answer = await whileBusy(this.sendButton, push);
    if (!answer) return;
    this.show(answer);
    this.result.firstElementChild.scrollIntoView({ block: "nearest" });
  }

  show({ request, answer, ms, note }) {
    if (!answer) {
      const words = note || "The push could not be sent.";
      this.result.replaceChildren(node("p", { class: "error", "data-testid": "push-answer" }, words));
      return;
    }
    const good = answer.status >= 200 && answer.status < 300;
    const status = node("span", { class: good ? "status good" : "status bad" }, String(answer.status));
    this.result.replaceChildren(
      node(
        "section",
        { "data-testid": "push-answer", "aria-label": "Answer" },
        node("h3", {}, "Answer ", status, node("span", { class: "elapsed" }, ` in ${Math.round(ms)} ms`)),
        raw("Raw answer", heads(answer.headers), pretty(answer.body)),
      ),
      node(
        "section",
        { "data-testid": "push-request", "aria-label": "Request" },
        node("h3", {}, "Request"),
        raw("Raw request", `${request.method} ${request.url}\n${heads(request.headers)}`, request.body),
      ),
    );
  }
}

/** Return a box with a quiet *head* and a *body*, text or JSON. */
export function raw(label, head, body) {
  const words = typeof body === "string" ? body : pretty(body);
  const about = { tabindex: "0", role: "group", "aria-label": label };
  return node("pre", about, node("span", { class: "quiet" }, head), head && words ? "\n\n" : "", words ?? "");
}

function heads(headers) {
  return Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}`).join("\n");
}

/** Return JSON with line breaks, other text unchanged. */
function pretty(body) {
  if (typeof body !== "string") return JSON.stringify(body, null, 2);
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
