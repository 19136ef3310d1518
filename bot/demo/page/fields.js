// Draw the elements that have a value.

import { drawText, wordsOf } from "./mrkdwn.js";
import { node } from "./nodes.js";
import { Picker } from "./picker.js";

/**
 * Each kind: (element, its value from before, scene, place) → `{control, focus, read}`: what to show, what to focus,
 * and a function that returns the value as Slack's view state has it.
 */
export const FIELDS = {
  plain_text_input: textField,
  number_input: textField,
  datepicker: dateField,
  static_select: (...rest) => selectField(optionChoices, "option", ...rest),
  users_select: (...rest) => selectField(peopleChoices, "user", ...rest),
  conversations_select: (...rest) => selectField(conversationChoices, "conversation", ...rest),
  external_select: pickerField,
  checkboxes: checkboxField,
};

function about(element, { id, label, described, input, invalid }) {
  return {
    id,
    "aria-label": label,
    "aria-describedby": described,
    "aria-required": input ? String(!input.optional) : null,
    "aria-invalid": invalid ? "true" : null,
    placeholder: wordsOf(element.placeholder) || null,
  };
}

function textField(element, was, scene, place) {
  const shared = { ...about(element, place), maxlength: element.max_length };
  const number = element.type === "number_input";
  const focus = element.multiline
    ? node("textarea", { ...shared, rows: "4" })
    : node("input", { ...shared, type: "text", inputmode: number ? "decimal" : null, autocomplete: "off" });
  focus.value = was?.value ?? element.initial_value ?? "";
  return { control: focus, focus, read: () => ({ value: (element.multiline ? focus.value : focus.value.trim()) || null }) };
}

function dateField(element, was, scene, place) {
  const focus = node("input", { ...about(element, place), type: "date" });
  focus.value = was?.selected_date ?? element.initial_date ?? "";
  return { control: focus, focus, read: () => ({ selected_date: focus.value || null }) };
}

function optionChoices(element) {
  return element.options.map((option) => ({ value: option.value, words: wordsOf(option.text), chosen: option }));
}

function peopleChoices(element, scene) {
  return scene.people.map(({ id, real_name: words }) => ({ value: id, words, chosen: id }));
}

function conversationChoices(element, scene) {
  const { include = ["im", "private", "public"], exclude_external_shared_channels: internal } = element.filter ?? {};
  const isOpen = include.includes("public") || include.includes("private");
  const fits = ({ kind }) => (kind === "im" ? include.includes("im") : isOpen && !(internal && kind === "shared"));
  const words = ({ kind, name }) => (kind === "im" ? name : `#${name}`);
  return scene.channels.filter(fits).map((channel) => ({ value: channel.id, words: words(channel), chosen: channel.id }));
}

function selectField(choices, kind, element, was, scene, place) {
  const all = choices(element, scene);
  const none = node("option", { value: "" }, wordsOf(element.placeholder) || "Choose…");
  const options = all.map(({ value, words }) => node("option", { value }, words));
  const focus = node("select", { ...about(element, place), placeholder: null }, none, ...options);
  const first = was?.[`selected_${kind}`] ?? element[`initial_${kind}`];
  focus.value = first?.value ?? first ?? "";
  const chosen = () => all.find(({ value }) => value === focus.value)?.chosen ?? null;
  return { control: focus, focus, read: () => ({ [`selected_${kind}`]: chosen() }) };
}

function pickerField(element, was, scene, place) {
  const picker = new Picker({
    about: about(element, place),
    find: (text) => scene.options(place.block.block_id, element.action_id, text),
    first: was?.selected_option ?? element.initial_option ?? null,
    least: element.min_query_length ?? 3,
  });
  return { control: picker.control, focus: picker.focus, read: () => ({ selected_option: picker.chosen }) };
}

function checkboxField(element, was, scene, { id, label, described, invalid }) {
  const first = (was?.selected_options ?? element.initial_options ?? []).map(({ value }) => value);
  const boxes = element.options.map((option, index) => {
    const name = `${id ?? element.action_id}-${index}`;
    const box = node("input", { type: "checkbox", id: name, checked: first.includes(option.value) });
    return { box, option, line: node("div", { class: "tick" }, box, node("label", { for: name }, drawText(option.text, scene))) };
  });
  const whole = { id, "aria-label": label, "aria-describedby": described, class: invalid ? "wrong" : "" };
  const control = node("fieldset", whole, ...boxes.map(({ line }) => line));
  const read = () => ({ selected_options: boxes.filter(({ box }) => box.checked).map(({ option }) => option) });
  return { control, focus: boxes[0].box, read };
}
