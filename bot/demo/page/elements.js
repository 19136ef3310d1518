// Draw what stands inside blocks: buttons, the overflow menu and images here, everything with a value in fields.js.

import { FIELDS } from "./fields.js";
import { drawText, plainText, wordsOf } from "./mrkdwn.js";
import { icon, node, safeAddress, whileBusy } from "./nodes.js";

const BUTTONS = {
  button: drawButton,
  workflow_button: drawButton,
  icon_button: drawButton,
  feedback_buttons: drawFeedback,
  overflow: drawOverflow,
};

export function isElement(type) {
  return Object.hasOwn(BUTTONS, type) || Object.hasOwn(FIELDS, type);
}

/**
 * *element* of *block*, drawn.
 *
 * *place* has `id`, `label`, `described` and `input` (the block) where it stands in an input block;
 * elsewhere using it tells the app at once.
 */
export function drawElement(element, block, scene, place) {
  if (!element) return node("span");
  if (element.type === "image") return drawImage(element, "accessory-image");
  const named = { ...element, action_id: element.action_id ?? `action-${element.type}` };
  if (Object.hasOwn(BUTTONS, element.type)) return BUTTONS[element.type](named, block, scene, place);
  if (Object.hasOwn(FIELDS, element.type)) return drawField(named, block, scene, place);
  return node("span", { class: "block-unknown" }, `(an element of the kind “${element.type}”)`);
}

/** Tell the app that *element* was used; *made* is what Slack puts into the action for it. */
async function tell(control, element, block, scene, made) {
  if (element.confirm && !(await askFirst(element.confirm, scene))) return;
  const action = { type: element.type, block_id: block.block_id, action_id: element.action_id, ...made };
  await whileBusy(control, () => scene.click(action, control));
}

function drawButton(element, block, scene) {
  const words = element.text ? plainText(element.text.text) : plainText(element.icon ?? "");
  const about = {
    class: `button ${element.style ?? ""}`,
    "aria-label": element.accessibility_label ?? null,
    "data-action-id": element.action_id,
  };
  const press = () => tell(control, element, block, scene, { value: element.value ?? null, text: element.text });
  const target = element.url && safeAddress(element.url);
  const control = target
    ? node("a", { ...about, href: target, target: "_blank", rel: "noopener noreferrer", onclick: press }, words)
    : node("button", { ...about, type: "button", onclick: press }, words);
  return control;
}

function drawFeedback(element, block, scene) {
  const both = [element.positive_button, element.negative_button].filter(Boolean);
  const made = both.map((button) => drawButton({ ...button, type: element.type, action_id: element.action_id }, block, scene));
  return node("span", { class: "feedback" }, ...made);
}

function drawOverflow(element, block, scene, { label }) {
  const close = (focus) => {
    menu.hidden = true;
    opener.setAttribute("aria-expanded", "false");
    if (focus) opener.focus();
  };
  const open = () => {
    menu.hidden = false;
    opener.setAttribute("aria-expanded", "true");
    menu.firstChild.focus();
  };
  const choose = (option) => {
    close(true);
    if (option.url && safeAddress(option.url)) window.open(option.url, "_blank", "noopener");
    tell(opener, element, block, scene, { selected_option: option });
  };
  const items = (element.options ?? []).map((option) => {
    const about = { type: "button", role: "menuitem", tabindex: "-1", onclick: () => choose(option) };
    return node("button", about, plainText(option.text?.text ?? ""));
  });
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
      onclick: () => (menu.hidden ? open() : close(true)),
    },
    icon("more"),
  );
  const keys = (event) => moveInMenu(event, menu, close);
  const whole = node("span", { class: "overflow-menu", onkeydown: keys }, opener, menu);
  whole.addEventListener("focusout", (event) => whole.contains(event.relatedTarget) || close(false));
  return whole;
}

function moveInMenu(event, menu, close) {
  if (menu.hidden) return;
  const items = [...menu.children];
  const now = items.indexOf(document.activeElement);
  const to = { ArrowDown: now + 1, ArrowUp: now - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
  if (event.key === "Escape") close(true);
  else if (to !== undefined) items[to % items.length].focus();
  else return;
  event.preventDefault();
  event.stopPropagation();
}

/** A picture of this machine or in the message itself; any other address is named, never fetched. */
export function drawImage(image, kind = "") {
  const address = image.image_url ?? image.slack_file?.url ?? "";
  const words = image.alt_text ?? "";
  if (!isNear(address)) return node("span", { class: `image-away ${kind}`, title: address }, words || "An image");
  const instead = () => node("span", { class: `image-away ${kind}` }, words || "An image");
  const drawn = node("img", { src: address, alt: words, class: kind, loading: "lazy" });
  drawn.addEventListener("error", () => drawn.replaceWith(instead()));
  return drawn;
}

function isNear(address) {
  if (address.startsWith("data:image/")) return true;
  try {
    return ["127.0.0.1", "localhost", "[::1]"].includes(new URL(address, location.href).hostname);
  } catch {
    return false;
  }
}

function drawField(element, block, scene, place) {
  const was = scene.kept?.[block.block_id]?.[element.action_id];
  const label = place.input ? null : element.placeholder?.text ?? place.label ?? "Choose";
  const field = FIELDS[element.type](element, was, scene, { ...place, label, block });
  const read = () => ({ type: element.type, ...field.read() });
  const named = { block_id: block.block_id, action_id: element.action_id };
  scene.fields?.push({ ...named, element, input: place.input, read, focus: field.focus });
  field.focus.dataset.actionId = element.action_id;
  const changed = () => tell(field.focus, element, block, scene, field.read());
  if (field.onEnter) field.focus.addEventListener("keydown", (event) => enterTells(event, place.input, changed));
  else if (!place.input || place.input.dispatch_action) field.control.addEventListener("change", changed);
  return field.control;
}

function enterTells(event, input, changed) {
  if (event.key !== "Enter" || event.isComposing || !input?.dispatch_action) return;
  event.preventDefault();
  changed();
}

/** Ask what *confirm* asks; true when the person agrees. */
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
        node("button", { class: "button", value: "no" }, wordsOf(confirm.deny) || "Cancel"),
        node("button", agree, wordsOf(confirm.confirm) || "OK"),
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
