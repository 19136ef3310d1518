// Draw Block Kit: one function for every kind of block, from Slack's documentation.

import { drawElement, drawImage, isElement } from "./elements.js";
import { drawText, plainText, wordsOf } from "./mrkdwn.js";
import { icon, node } from "./nodes.js";
import { drawMarkdown, drawRichText } from "./richtext.js";

const BLOCKS = {
  header: drawHeader,
  divider: () => node("hr"),
  section: drawSection,
  context: drawContext,
  actions: drawActions,
  context_actions: drawActions,
  image: drawImageBlock,
  input: drawInput,
  table: drawTable,
  data_table: drawTable,
  rich_text: drawRichText,
  markdown: drawMarkdown,
  alert: (block, scene) => node("div", { class: "block-alert", role: "note" }, icon("warning"), drawText(block.text, scene)),
};

/**
 * The nodes of *blocks* in *scene*.
 *
 * A scene says who reads (`me`, `people`, `channels`, `now`), what pressing does (`click`, `options`), which
 * values stand in the fields from before (`kept`) and what is wrong with them (`errors`); the fields that
 * were drawn are added to `scene.fields`, so that their values can be read.
 */
export function drawBlocks(blocks, scene) {
  return (blocks ?? []).map((block, index) => {
    const named = { ...block, block_id: block.block_id ?? `block-${index}` };
    const draw = Object.hasOwn(BLOCKS, block.type) ? BLOCKS[block.type] : drawUnknown;
    return node("div", { class: `block block-kind-${block.type}`, "data-block-id": named.block_id }, draw(named, scene));
  });
}

/** The values of *fields* as Slack's `view.state.values` has them. */
export function valuesOf(fields) {
  const values = {};
  for (const { block_id, action_id, read } of fields) {
    values[block_id] = { ...values[block_id], [action_id]: read() };
  }
  return values;
}

/** A Home tab has nothing between the page's own heading and the app's. */
function drawHeader(block, scene) {
  return node(scene.surface === "home" ? "h2" : "h3", { class: "block-header" }, plainText(block.text?.text ?? ""));
}

function drawSection(block, scene) {
  const fields = (block.fields ?? []).map((field) => node("div", { class: "field" }, drawText(field, scene)));
  const words = node(
    "div",
    { class: "section-words" },
    block.text && node("div", { class: "words" }, drawText(block.text, scene)),
    fields.length > 0 && node("div", { class: "fields" }, ...fields),
  );
  const label = wordsOf(block.text ?? block.fields?.[0] ?? "").replace(/[*_~`]/g, "").slice(0, 80);
  const beside = block.accessory && drawElement(block.accessory, block, scene, { label });
  return node("div", { class: "block-section" }, words, beside && node("div", { class: "accessory" }, beside));
}

function drawContext(block, scene) {
  const words = (part) => node("span", { class: "words" }, drawText(part, scene));
  const draw = (part) => (part.type === "image" ? drawImage(part, "context-image") : words(part));
  return node("div", { class: "block-context" }, ...(block.elements ?? []).map(draw));
}

function drawActions(block, scene) {
  const elements = (block.elements ?? []).map((element) => drawElement(element, block, scene, {}));
  return node("div", { class: "block-actions" }, ...elements);
}

function drawImageBlock(block) {
  const title = block.title && node("figcaption", {}, plainText(block.title.text));
  return node("figure", { class: "block-image" }, title, drawImage(block));
}

let inputs = 0;

/** A label, its field, the hint and what is wrong with it: tied together for assistive technology. */
function drawInput(block, scene) {
  const id = `input-${++inputs}`;
  const error = scene.errors?.[block.block_id];
  const described = [block.hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" ");
  const label = wordsOf(block.label);
  const field = drawElement(block.element, block, scene, { id, label, described, input: block, invalid: Boolean(error) });
  const name = [plainText(block.label?.text ?? ""), block.optional && node("span", { class: "optional" }, " (optional)")];
  const group = field.tagName === "FIELDSET";
  if (group) field.prepend(node("legend", { class: "label" }, ...name));
  return node(
    "div",
    { class: error ? "block-input wrong" : "block-input" },
    !group && node("label", { for: id, class: "label" }, ...name),
    field,
    block.hint && node("p", { class: "hint", id: `${id}-hint` }, plainText(block.hint.text)),
    node("p", { class: "error", id: `${id}-error`, "data-error-of": block.block_id }, error ?? ""),
  );
}

function drawTable(block, scene) {
  const rows = block.rows ?? [];
  const cells = (row, tag) =>
    row.map((cell, column) => {
      const setting = block.column_settings?.[column] ?? {};
      const about = { scope: tag === "th" ? "col" : null, class: setting.is_wrapped ? "" : "nowrap" };
      const made = node(tag, about, drawCell(cell, scene));
      made.style.textAlign = setting.align ?? "";
      return made;
    });
  const [head = [], ...body] = rows;
  const table = node(
    "table",
    {},
    block.caption && node("caption", {}, wordsOf(block.caption)),
    node("thead", {}, node("tr", {}, ...cells(head, "th"))),
    node("tbody", {}, ...body.map((row) => node("tr", {}, ...cells(row, "td")))),
  );
  const name = wordsOf(block.caption ?? "Table");
  return node("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": name }, table);
}

function drawCell(cell, scene) {
  if (cell?.type === "rich_text") return drawRichText(cell, scene);
  return String(cell?.text ?? cell?.value ?? "");
}

/** A kind this page does not know is shown as it came: nothing an app sends is hidden. */
function drawUnknown(block, scene) {
  if (isElement(block.type)) return drawElement(block, block, scene, {});
  return node(
    "details",
    { class: "block-unknown" },
    node("summary", {}, `A block of the kind “${block.type}”, which this page does not draw`),
    node("pre", { tabindex: "0" }, JSON.stringify(block, null, 2)),
  );
}
