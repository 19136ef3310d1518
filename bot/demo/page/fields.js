// Draw the elements that hold a value, each with a way to read it as Slack's view state has it.

import { drawText, wordsOf } from "./mrkdwn.js";
import { node } from "./nodes.js";
import { Picker } from "./picker.js";

/**
 * Every kind: (element, its value from before, scene, place) → `{control, focus, read}`: what to show, what to
 * focus and label, and the value. `onEnter` marks those that speak on Enter, not on every change.
 */
export const FIELDS = {
  plain_text_input: textField,
  rich_text_input: richTextField,
  email_text_input: (...given) => lineField("email", ...given),
  url_text_input: (...given) => lineField("url", ...given),
  number_input: numberField,
  static_select: (...given) => selectField(optionChoices, "option", ...given),
  users_select: (...given) => selectField(peopleChoices, "user", ...given),
  conversations_select: (...given) => selectField(conversationChoices, "conversation", ...given),
  channels_select: (...given) => selectField(channelChoices, "channel", ...given),
  external_select: (...given) => pickerField(null, "option", ...given),
  multi_external_select: (...given) => pickerField(null, "options", ...given),
  multi_static_select: (...given) => pickerField(optionChoices, "options", ...given),
  multi_users_select: (...given) => pickerField(peopleChoices, "users", ...given),
  multi_conversations_select: (...given) => pickerField(conversationChoices, "conversations", ...given),
  multi_channels_select: (...given) => pickerField(channelChoices, "channels", ...given),
  radio_buttons: (...given) => tickField("radio", ...given),
  checkboxes: (...given) => tickField("checkbox", ...given),
  datepicker: (...given) => momentField("date", "date", ...given),
  timepicker: (...given) => momentField("time", "time", ...given),
  datetimepicker: dateTimeField,
};

/** What every control says about itself. */
function about(element, { id, label, described, input, invalid }) {
  return {
    id,
    "aria-label": label,
    "aria-describedby": described,
    "aria-required": input ? String(!input.optional) : null,
    "aria-invalid": invalid ? "true" : null,
    placeholder: element.placeholder?.text ?? null,
    autofocus: element.focus_on_load ? true : null,
  };
}

function textField(element, was, scene, place) {
  if (!element.multiline) return lineField("text", element, was, scene, place);
  const focus = node("textarea", { ...about(element, place), rows: "4", maxlength: element.max_length });
  focus.value = was?.value ?? element.initial_value ?? "";
  return { control: focus, focus, read: () => ({ value: focus.value || null }) };
}

function lineField(type, element, was, scene, place) {
  const focus = node("input", { ...about(element, place), type, maxlength: element.max_length, autocomplete: "off" });
  focus.value = was?.value ?? element.initial_value ?? "";
  return { control: focus, focus, onEnter: true, read: () => ({ value: focus.value.trim() || null }) };
}

function numberField(element, was, scene, place) {
  const made = lineField("text", element, was, scene, place);
  made.focus.inputMode = "decimal";
  return made;
}

function richTextField(element, was, scene, place) {
  const focus = node("textarea", { ...about(element, place), rows: "4" });
  const before = was?.rich_text_value ?? element.initial_value;
  const pieces = (before?.elements ?? []).flatMap((part) => part.elements ?? []);
  focus.value = pieces.map((piece) => piece.text ?? "").join("");
  const section = () => ({ type: "rich_text_section", elements: [{ type: "text", text: focus.value }] });
  const read = () => ({ rich_text_value: focus.value ? { type: "rich_text", elements: [section()] } : null });
  return { control: focus, focus, read };
}

/** Choices come in groups of options; an element without groups has one that has no name. */
function optionChoices(element) {
  return element.option_groups ?? [{ label: null, options: element.options ?? [] }];
}

function choice(value, words) {
  return { text: { type: "plain_text", text: words }, value };
}

function peopleChoices(element, scene) {
  return [{ label: null, options: (scene.people ?? []).map((person) => choice(person.id, person.real_name)) }];
}

function channelChoices(element, scene) {
  const open = (scene.channels ?? []).filter((channel) => channel.kind !== "im");
  return [{ label: null, options: open.map((channel) => choice(channel.id, `#${channel.name}`)) }];
}

function conversationChoices(element, scene) {
  const { include = ["im", "mpim", "private", "public"], exclude_external_shared_channels: internal } = element.filter ?? {};
  const isOpen = include.includes("public") || include.includes("private");
  const fits = ({ kind }) => (kind === "im" ? include.includes("im") : isOpen && !(internal && kind === "shared"));
  const shown = (scene.channels ?? []).filter(fits);
  const words = (channel) => (channel.kind === "im" ? channel.name : `#${channel.name}`);
  return [{ label: null, options: shown.map((channel) => choice(channel.id, words(channel))) }];
}

/** Of an option the whole object is the value, of a person or a channel its id. */
function valueOf(kind, option) {
  return kind.startsWith("option") ? option : option.value;
}

function firstOf(kind, element, was) {
  const first = was?.[`selected_${kind}`] ?? element[`initial_${kind}`] ?? null;
  return (Array.isArray(first) ? first : [first]).filter(Boolean).map((one) => one.value ?? one);
}

function selectField(choices, kind, element, was, scene, place) {
  const groups = choices(element, scene);
  const all = groups.flatMap((group) => group.options);
  const none = node("option", { value: "" }, wordsOf(element.placeholder) || "Choose…");
  const focus = node("select", { ...about(element, place), placeholder: null }, none);
  for (const { label, options } of groups) {
    const made = options.map((option) => node("option", { value: option.value }, wordsOf(option.text)));
    focus.append(...(label ? [node("optgroup", { label: wordsOf(label) }, ...made)] : made));
  }
  focus.value = firstOf(kind, element, was)[0] ?? "";
  const chosen = () => all.find((option) => option.value === focus.value);
  return { control: focus, focus, read: () => ({ [`selected_${kind}`]: chosen() ? valueOf(kind, chosen()) : null }) };
}

function pickerField(choices, kind, element, was, scene, place) {
  const local = choices && choices(element, scene);
  const known = (local ?? []).flatMap((group) => group.options);
  const given = was?.[`selected_${kind}`] ?? element[`initial_${kind}`] ?? [];
  const whole = (one) => (one.value ? one : known.find((option) => option.value === one));
  const first = [given].flat().map(whole).filter(Boolean);
  const ask = (text) => scene.options(place.block.block_id, element.action_id, text);
  const find = local ? async (text) => matching(local, text) : ask;
  const multi = kind.endsWith("s");
  const made = new Picker({
    about: about(element, place), find, first, multi,
    least: local ? 0 : element.min_query_length ?? 3, most: element.max_selected_items ?? Infinity,
  });
  const read = () => {
    const values = made.chosen.map((option) => valueOf(kind, option));
    return { [`selected_${kind}`]: multi ? values : values[0] ?? null };
  };
  return { control: made.control, focus: made.focus, read };
}

function matching(groups, text) {
  const fits = (option) => wordsOf(option.text).toLowerCase().includes(text.toLowerCase());
  return groups.flatMap((group) => group.options).filter(fits);
}

let groups = 0;

function tickField(type, element, was, scene, place) {
  const name = `tick-${++groups}`;
  const kind = type === "radio" ? "option" : "options";
  const first = firstOf(kind, element, was);
  const boxes = (element.options ?? []).map((option, index) => {
    const id = `${name}-${index}`;
    const described = option.description && `${id}-more`;
    const checked = first.includes(option.value);
    const box = node("input", { type, name, id, value: option.value, checked, "aria-describedby": described });
    const more = option.description && node("span", { class: "hint", id: described }, drawText(option.description, scene));
    const label = node("label", { for: id }, drawText(option.text, scene));
    return { box, option, line: node("div", { class: "tick" }, box, label, more) };
  });
  const { id, label, described, invalid } = place;
  const whole = { id, "aria-label": label, "aria-describedby": described, class: invalid ? "wrong" : "" };
  const control = node("fieldset", whole, ...boxes.map(({ line }) => line));
  const chosen = () => boxes.filter(({ box }) => box.checked).map(({ option }) => option);
  const read = () => (type === "radio" ? { selected_option: chosen()[0] ?? null } : { selected_options: chosen() });
  return { control, focus: boxes[0]?.box ?? control, read };
}

function momentField(type, kind, element, was, scene, place) {
  const focus = node("input", { ...about(element, place), type });
  focus.value = was?.[`selected_${kind}`] ?? element[`initial_${kind}`] ?? "";
  return { control: focus, focus, read: () => ({ [`selected_${kind}`]: focus.value || null }) };
}

function dateTimeField(element, was, scene, place) {
  const focus = node("input", { ...about(element, place), type: "datetime-local" });
  const first = was?.selected_date_time ?? element.initial_date_time;
  if (first) {
    const local = new Date(first * 1000 - new Date(first * 1000).getTimezoneOffset() * 60_000);
    focus.value = local.toISOString().slice(0, 16);
  }
  const read = () => ({ selected_date_time: focus.value ? Math.floor(new Date(focus.value) / 1000) : null });
  return { control: focus, focus, read };
}
