// Draw the kinds of blocks that the app sends.

import { drawElement, drawImage } from "./elements.js";
import { drawText, wordsOf } from "./mrkdwn.js";
import { node } from "./nodes.js";

const BLOCKS = {
  divider: () => node("hr"),
  section: drawSection,
  context: drawContext,
  actions: drawActions,
  image: (block) => node("figure", { class: "block-image" }, drawImage(block)),
  input: drawInput,
};

/**
 * Return the nodes of *blocks* in *scene*.
 *
 * A scene contains the reader and the workspace (`me`, `people`, `channels`, `now`), the effect of a click and of
 * typing in a search (`click`, `options`), the fields' values from before (`kept`) and their errors (`errors`). The
 * drawn fields are added to `scene.fields`, so that their values can be read.
 */
export function drawBlocks(blocks, scene) {
  return blocks.map((block) => {
    const about = { class: `block block-kind-${block.type}`, "data-block-id": block.block_id };
    return node("div", about, (BLOCKS[block.type] ?? drawUnknown)(block, scene));
  });
}

/** Return the values of *fields* as Slack's `view.state.values` has them. */
export function valuesOf(fields) {
  const values = {};
  for (const { block_id, action_id, read } of fields) values[block_id] = { ...values[block_id], [action_id]: read() };
  return values;
}

function drawSection(block, scene) {
  const label = wordsOf(block.text).replace(/[*_~`]/g, "").slice(0, 80);
  const fields = (block.fields ?? []).map((field) => node("div", { class: "section-field words" }, drawText(field, scene)));
  const beside = block.accessory && drawElement(block.accessory, block, scene, { label });
  return node(
    "div",
    { class: "block-section" },
    node(
      "div",
      { class: "section-words" },
      node("div", { class: "words" }, drawText(block.text, scene)),
      fields.length > 0 && node("div", { class: "section-fields" }, ...fields),
    ),
    beside && node("div", { class: "accessory" }, beside),
  );
}

function drawContext(block, scene) {
  const words = block.elements.map((part) => node("span", { class: "words" }, drawText(part, scene)));
  return node("div", { class: "block-context" }, ...words);
}

function drawActions(block, scene) {
  const elements = block.elements.map((element) => drawElement(element, block, scene, {}));
  return node("div", { class: "block-actions" }, ...elements);
}

let inputs = 0;

/** Return a label, its field, the hint and the error, tied together for assistive technology. */
function drawInput(block, scene) {
  const id = `input-${++inputs}`;
  const error = scene.errors?.[block.block_id];
  const described = [block.hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" ");
  const label = wordsOf(block.label);
  const field = drawElement(block.element, block, scene, { id, label, described, input: block, invalid: Boolean(error) });
  const name = [label, block.optional && node("span", { class: "optional" }, " (optional)")];
  const group = field.tagName === "FIELDSET";
  if (group) field.prepend(node("legend", { class: "label" }, ...name.filter(Boolean)));
  return node(
    "div",
    { class: error ? "block-input wrong" : "block-input" },
    !group && node("label", { for: id, class: "label" }, ...name),
    field,
    block.hint && node("p", { class: "hint", id: `${id}-hint` }, wordsOf(block.hint)),
    node("p", { class: "error", id: `${id}-error`, "data-error-of": block.block_id }, error ?? ""),
  );
}

/** Show a kind that this page does not know as it came, so that nothing is hidden. */
function drawUnknown(block) {
  return node("pre", { tabindex: "0" }, JSON.stringify(block, null, 2));
}
