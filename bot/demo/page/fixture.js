// Draw every block of fixture.json with the same code as the workspace, and say what pressing would send.

import { valuesOf } from "./blocks.js";
import { drawMessage } from "./messages.js";
import { wordsOf } from "./mrkdwn.js";
import { Modals, drawView, showErrors } from "./modals.js";

const at = (id) => document.getElementById(id);
const fixture = await (await fetch("/page/fixture.json")).json();

const tell = (...said) => {
  at("told").textContent = said.map((part) => (typeof part === "string" ? part : JSON.stringify(part))).join(" ");
  return { status: 200 };
};

/** Stands in for the app where an external select asks it. */
async function options(block, action, value) {
  return fixture.options.filter((option) => wordsOf(option.text).toLowerCase().includes(value.toLowerCase()));
}

const scene = { ...fixture.scene, click: ({ action }) => tell("click", action), optionsFor: () => options };

at("messages").append(...fixture.messages.map((message) => drawMessage(message, scene)));

const fields = [];
const inCard = {
  ...scene,
  fields,
  errors: fixture.view.errors,
  click: (action) => tell("click", action),
  options,
};
const onCard = { submit: () => tell("submit", valuesOf(fields)), close: () => tell("close") };
const card = drawView(fixture.view, inCard, onCard);
at("modal-card").append(card);
showErrors(card, fixture.view.errors, []);

const modals = new Modals(at("modal"), {
  click: ({ action }) => tell("click", action),
  submit: ({ values }) => {
    modals.show([], scene);
    return tell("submit", values);
  },
  close: ({ view }) => tell("close", view),
});
let opened = 0;
at("open-modal").addEventListener("click", () => {
  opened += 1;
  modals.show([{ ...fixture.view, id: `VMODAL${opened}`, errors: {} }], scene);
});
