// Draw what stands inside blocks: buttons, the overflow menu and images; elements with a value are in fields.js.

import { FIELDS } from "./fields.js";
import { drawText, wordsOf } from "./mrkdwn.js";
import { icon, node, whileBusy } from "./nodes.js";

/**
 * Return *element* of *block*, drawn.
 *
 * *place* has `id`, `label`, `described` and `input` (the block) inside an input block; elsewhere a use of the element is
 * sent to the app at once.
 */
export function drawElement(element, block, scene, place) {
  if (element.type === "button") return drawButton(element, block, scene);
  if (element.type === "overflow") return drawOverflow(element, block, scene, place);
  return drawField(element, block, scene, place);
}

/** Send a use of *element* to the app, after its confirmation if it has one; *choice* is the value in Slack's form. */
async function send(control, element, block, scene, choice) {
  if (element.confirm && !(await askFirst(element.confirm, scene))) return;
  const action = { block_id: block.block_id, action_id: element.action_id, ...choice };
  await whileBusy(control, () => scene.click(action));
}

function drawButton(element, block, scene) {
  const about = {
    type: "button",
    class: `button ${element.style ?? ""}`,
    "data-action-id": element.action_id,
    onclick: (event) => send(event.currentTarget, element, block, scene, {}),
  };
  return node("button", about, wordsOf(element.text));
}

function drawOverflow(element, block, scene, { label }) {
  const show = (open) => {
    menu.hidden = !open;
    opener.setAttribute("aria-expanded", String(open));
  };
  const choose = (option) => {
    show(false);
    opener.focus();
    send(opener, element, block, scene, { selected_option: option });
  };
  const items = element.options.map((option) =>
    node("button", { type: "button", role: "menuitem", tabindex: "-1", onclick: () => choose(option) }, wordsOf(option.text)),
  );
  const menu = node("div", { role: "menu", class: "menu", hidden: true, "aria-label": "More actions" }, ...items);
  const opener = node(
    "button",
    {
      type: "button",
      class: "button overflow",
      "aria-haspopup": "menu",
      "aria-expanded": "false",
      "aria-label": label ? `More about ${label}` : "More actions",
      "data-action-id": element.action_id,
      onclick: () => {
        show(menu.hidden);
        if (!menu.hidden) items[0].focus();
      },
    },
    icon("more"),
  );
  const whole = node("span", { class: "overflow-menu", onkeydown: (event) => moveInMenu(event, items, opener, show) }, opener, menu);
  whole.addEventListener("focusout", (event) => whole.contains(event.relatedTarget) || show(false));
  return whole;
}

function moveInMenu(event, items, opener, show) {
  const now = items.indexOf(document.activeElement);
  const to = { ArrowDown: now + 1, ArrowUp: now - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
  if (now < 0) return;
  if (event.key === "Escape") {
    show(false);
    opener.focus();
  } else if (to !== undefined) items[to % items.length].focus();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

/** Return a picture that was uploaded to this server. */
export function drawImage(image) {
  return node("img", { src: image.image_url, alt: image.alt_text, loading: "lazy" });
}

function drawField(element, block, scene, place) {
  const was = scene.kept?.[block.block_id]?.[element.action_id];
  const label = place.input ? null : wordsOf(element.placeholder) || place.label || "Choose";
  const field = FIELDS[element.type](element, was, scene, { ...place, label, block });
  scene.fields.push({
    block_id: block.block_id, action_id: element.action_id, input: place.input, read: field.read, focus: field.focus,
  });
  field.focus.dataset.actionId = element.action_id;
  if (!place.input) field.control.addEventListener("change", () => send(field.focus, element, block, scene, field.read()));
  return field.control;
}

/** Ask for a confirmation; resolve to true if the person agrees. */
function askFirst(confirm, scene) {
  return new Promise((resolve) => {
    const agree = { class: `button ${confirm.style ?? "primary"}`, value: "yes", autofocus: true };
    const form = node(
      "form",
      { method: "dialog" },
      node("h2", { id: "confirm-title" }, wordsOf(confirm.title)),
      node("div", { class: "modal-body", id: "confirm-text" }, drawText(confirm.text, scene)),
      node(
        "div",
        { class: "modal-foot" },
        node("button", { class: "button", value: "no" }, wordsOf(confirm.deny)),
        node("button", agree, wordsOf(confirm.confirm)),
      ),
    );
    const about = { class: "confirm", "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text" };
    const dialog = node("dialog", about, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
