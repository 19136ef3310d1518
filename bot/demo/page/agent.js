// The agent panel: the address and token of the tools for agents, and two calls with their answers.

import { node, whileBusy } from "./nodes.js";
import { raw } from "./pushes.js";

/** The section of the panel; *act*(what, body) calls the server. */
export class AgentPanel {
  constructor(section, act) {
    Object.assign(this, { section, act });
    this.result = section.querySelector("#agent-result");
    for (const button of section.querySelectorAll("[data-copies]")) {
      const field = section.querySelector(`#${button.dataset.copies}`);
      button.addEventListener("click", () => copy(field, button));
    }
    const callButton = section.querySelector("[data-testid=agent-call]");
    callButton.addEventListener("click", () => whileBusy(callButton, () => this.call()));
  }

  offer({ url, token }) {
    this.section.querySelector("#agent-url").value = url;
    this.section.querySelector("#agent-token").value = token;
  }

  async call() {
    const { calls, note } = await this.act("agent", {});
    this.result.replaceChildren(...(calls?.map(drawCall) ?? [node("p", { class: "error" }, note)]));
  }
}

function drawCall({ tool, arguments: parameters, status, text, content }) {
  return node(
    "section",
    { "data-testid": "agent-answer", "aria-label": tool },
    node("h3", {}, `${tool} `, node("span", { class: content ? "status good" : "status bad" }, String(status))),
    node("p", { class: "hint" }, JSON.stringify(parameters)),
    node("p", {}, text),
    content && raw(`Structured content of ${tool}`, "", content),
  );
}

async function copy(field, button) {
  field.select();
  await navigator.clipboard?.writeText(field.value).catch(() => {}); // where it is not allowed, the text is selected
  button.textContent = "Copied";
}
