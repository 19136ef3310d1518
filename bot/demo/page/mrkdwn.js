// Render Slack's mrkdwn as DOM nodes: bold, italic, strike, code, lists, links, mentions, dates and emoji.

import { formatDate, wholeMoment } from "./dates.js";
import { link, node, safeAddress } from "./nodes.js";

const EMOJI = { warning: "⚠️", white_check_mark: "✅", tada: "🎉", fire: "🔥", eyes: "👀", wave: "👋", "+1": "👍" };
// Squares are drawn by the style sheet, because not every machine has a font with them.
const SQUARES = { "⬜": "grey", "🟦": "blue", "🟩": "green", "🟨": "yellow", "🟧": "orange", "🟥": "red", "🟪": "purple" };
const LISTS = [
  ["ul", /^ *[•-] +/],
  ["ol", /^ *\d+\. +/],
];
// Each kind of markup: its pattern, and the node for its match.
const MARKUP = [
  [/`([^`\n]+)`/, ([, words]) => node("code", {}, unescaped(words))],
  [/<([^<>|\n]+)(?:\|([^<>\n]*))?>/, ([whole, target, words], scene) => drawAngle(whole, unescaped(target), unescaped(words ?? ""), scene)],
  [styled("\\*"), ([, words], scene) => node("strong", {}, inline(words, scene))],
  [styled("_"), ([, words], scene) => node("em", {}, inline(words, scene))],
  [styled("~"), ([, words], scene) => node("s", {}, inline(words, scene))],
  [/:([a-z0-9_+-]+):/, ([whole, name]) => (EMOJI[name] ? node("span", { role: "img", "aria-label": name }, EMOJI[name]) : whole)],
  [/[⬜🟦🟩🟨🟧🟥🟪]/u, ([square]) => node("span", { class: `square ${SQUARES[square]}`, role: "img", "aria-label": SQUARES[square] }, square)],
];
const ANY_MARKUP = new RegExp(MARKUP.map(([pattern]) => pattern.source.replace(/\((?!\?)/g, "(?:")).join("|"), "u");

/** Return the pattern of text between two marks at the edges of words. */
function styled(mark) {
  return new RegExp(`(?<![\\p{L}\\p{N}])${mark}(\\S|\\S[^\\n]*?\\S)${mark}(?![\\p{L}\\p{N}])`, "u");
}

/** Return a text object as nodes: mrkdwn where it says so, else plain text. */
export function drawText(object, scene) {
  return object?.type === "mrkdwn" ? mrkdwn(object.text, scene) : document.createTextNode(wordsOf(object));
}

/** Return the words of a text object, without styling: for labels and titles. */
export function wordsOf(object) {
  return typeof object === "string" ? object : object?.text ?? "";
}

/** Return mrkdwn as nodes; what is no markup stays text. */
export function mrkdwn(text, scene) {
  const out = document.createDocumentFragment();
  String(text ?? "").split(/```\n?([\s\S]*?)\n?```\n?/).forEach((part, index) => {
    if (index % 2) out.append(node("pre", { tabindex: "0" }, unescaped(part)));
    else if (part) out.append(...paragraphs(part, scene));
  });
  return out;
}

/** Return lines as nodes; consecutive lines of a list become one list. */
function paragraphs(text, scene) {
  const runs = [];
  for (const line of text.replace(/\n$/, "").split("\n")) {
    const [kind, mark] = LISTS.find(([, pattern]) => pattern.test(line)) ?? ["text", /^/];
    if (runs.at(-1)?.kind !== kind) runs.push({ kind, lines: [], first: parseInt(line, 10) || null });
    runs.at(-1).lines.push(inline(line.replace(mark, ""), scene));
  }
  return runs.flatMap(({ kind, lines, first }) => {
    if (kind !== "text") return [node(kind, { start: first }, ...lines.map((line) => node("li", {}, line)))];
    return lines.flatMap((line, index) => (index ? [node("br"), line] : [line]));
  });
}

function inline(text, scene) {
  const out = document.createDocumentFragment();
  let rest = text;
  for (let found = ANY_MARKUP.exec(rest); found; found = ANY_MARKUP.exec(rest)) {
    const [pattern, draw] = MARKUP.find(([kind]) => kind.exec(rest)?.index === found.index);
    out.append(unescaped(rest.slice(0, found.index)), draw(pattern.exec(rest), scene));
    rest = rest.slice(found.index + found[0].length);
  }
  out.append(unescaped(rest));
  return out;
}

/** Slack escapes exactly three characters. */
function unescaped(text) {
  return text.replace(/&(lt|gt|amp);/g, (_, name) => ({ lt: "<", gt: ">", amp: "&" })[name]);
}

/** Return what stands in angle brackets: a mention, a date or a link; brackets that mean nothing stay text. */
function drawAngle(whole, target, words, scene) {
  if (target[0] === "@") return mention(target.slice(1), words, scene);
  if (target[0] === "#") {
    const name = scene.channels?.find(({ id }) => id === target.slice(1))?.name ?? (words || "a channel you cannot see");
    return node("span", { class: "mention" }, `#${name}`);
  }
  if (target.startsWith("!subteam^")) {
    const handle = scene.groups?.find(({ id }) => id === target.slice(9))?.handle ?? (words.replace(/^@/, "") || "a user group");
    return node("span", { class: "mention" }, `@${handle}`);
  }
  if (target.startsWith("!date^")) {
    const [, seconds, format] = target.split("^");
    const about = { datetime: new Date(Number(seconds) * 1000).toISOString(), title: wholeMoment(seconds, scene) };
    return node("time", about, formatDate(seconds, format, scene));
  }
  return safeAddress(target) ? link(target, words || target.replace(/^mailto:/, "")) : unescaped(whole);
}

function mention(id, words, scene) {
  const name = [...(scene.people ?? []), ...(scene.bots ?? [])].find((person) => person.id === id);
  const shown = name?.real_name ?? name?.name ?? (words || id);
  return node("span", { class: id === scene.me?.id ? "mention me" : "mention" }, `@${shown}`);
}
