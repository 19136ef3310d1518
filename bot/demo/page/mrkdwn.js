// Draw Slack's mrkdwn as DOM nodes: styles, code, quotes, lists, links, mentions, dates and emoji.

import { formatDate, wholeMoment } from "./dates.js";
import { EMOJI } from "./emoji.js";
import { link, node, safeAddress } from "./nodes.js";

const WORD = /[\p{L}\p{N}]/u;
const LINES = [
  ["quote", /^(?:&gt;|>) ?/],
  ["bullets", /^ *[•◦▪-] +/],
  ["numbers", /^ *\d+\. +/],
];

/** A text object, or bare words of an app, as nodes: mrkdwn where it says so, else plain text. */
export function drawText(object, scene) {
  if (object && object.type === "mrkdwn") return mrkdwn(object.text, object.verbatim ? { ...scene, verbatim: true } : scene);
  return plainText(typeof object === "string" ? object : object?.text ?? "", object?.emoji !== false);
}

/** The words of a text object, without any styling: for labels and titles. */
export function wordsOf(object) {
  const words = typeof object === "string" ? object : object?.text ?? "";
  return words.replace(/:([\w+'-]+):/g, (all, name) => (Object.hasOwn(EMOJI, name) ? EMOJI[name] : all));
}

/** Plain text: short names of emoji are drawn, everything else stands as it is. */
export function plainText(words, withEmoji = true) {
  return scan(words, withEmoji ? { ":": emoji, "\n": lineBreak } : { "\n": lineBreak }, null, (text) => text);
}

/** mrkdwn as Slack draws it; what is no markup stays text. */
export function mrkdwn(text, scene) {
  const out = document.createDocumentFragment();
  String(text ?? "").split(/```\n?([\s\S]*?)\n?```\n?/).forEach((part, index) => {
    if (index % 2) out.append(node("pre", { tabindex: "0" }, scan(part, { "<": angle }, scene)));
    else if (part) out.append(...paragraphs(part, scene));
  });
  return out;
}

function paragraphs(text, scene) {
  const rest = /^(?:&gt;&gt;&gt;|>>>) ?/m.exec(text);
  const before = rest ? text.slice(0, rest.index) : text;
  const runs = [];
  for (const line of before.replace(/\n$/, "").split("\n")) {
    const [kind, mark] = LINES.find(([, pattern]) => pattern.test(line)) ?? ["text", /^/];
    if (runs.at(-1)?.kind !== kind) runs.push({ kind, lines: [], first: parseInt(line, 10) });
    runs.at(-1).lines.push(inline(line.replace(mark, ""), scene));
  }
  const drawn = before ? runs.flatMap(drawRun) : [];
  if (!rest) return drawn;
  const quoted = text.slice(rest.index + rest[0].length).split("\n");
  return [...drawn, node("blockquote", {}, ...broken(quoted.map((line) => inline(line, scene))))];
}

function drawRun({ kind, lines, first }) {
  if (kind === "quote") return [node("blockquote", {}, ...broken(lines))];
  if (kind === "bullets") return [node("ul", {}, ...lines.map((line) => node("li", {}, line)))];
  if (kind === "numbers") return [node("ol", { start: first }, ...lines.map((line) => node("li", {}, line)))];
  return broken(lines);
}

function broken(lines) {
  return lines.flatMap((line, index) => (index ? [node("br"), line] : [line]));
}

function inline(text, scene) {
  return scan(text, INLINE, scene);
}

/**
 * *text* read from left to right: where a character has a reader in *readers* and the reader answers
 * `{node, end}`, that node stands for the text up to *end*; all else is text.
 */
export function scan(text, readers, scene, clean = unescaped) {
  const out = document.createDocumentFragment();
  let from = 0;
  for (let at = 0; at < text.length; ) {
    const found = readers[text[at]]?.(text, at, scene, readers);
    if (!found) {
      at += 1;
      continue;
    }
    out.append(clean(text.slice(from, at)), found.node);
    at = from = found.end;
  }
  out.append(clean(text.slice(from)));
  return out;
}

/** Slack escapes exactly three characters. */
function unescaped(text) {
  return text.replace(/&(lt|gt|amp);/g, (_, name) => ({ lt: "<", gt: ">", amp: "&" })[name]);
}

/** A reader of text between two of the same marks, which stand at the edges of words. */
export function between(mark, tag) {
  return (text, at, scene, readers) => {
    const start = at + mark.length;
    if (!text.startsWith(mark, at) || WORD.test(text[at - 1] ?? "") || /\s/.test(text[start] ?? " ")) return null;
    for (let end = text.indexOf(mark, start + 1); end > 0; end = text.indexOf(mark, end + 1)) {
      if (/\s/.test(text[end - 1]) || WORD.test(text[end + mark.length] ?? "")) continue;
      return { end: end + mark.length, node: node(tag, {}, scan(text.slice(start, end), readers, scene)) };
    }
    return null;
  };
}

export function code(text, at) {
  const end = text.indexOf("`", at + 1);
  return end > at + 1 ? { end: end + 1, node: node("code", {}, unescaped(text.slice(at + 1, end))) } : null;
}

export function emoji(text, at) {
  const name = /^:([a-z0-9_+'-]+):/.exec(text.slice(at, at + 60))?.[1];
  if (!name || !Object.hasOwn(EMOJI, name)) return null;
  const about = { role: "img", "aria-label": name.replaceAll("_", " "), class: "emoji" };
  return { end: at + name.length + 2, node: node("span", about, EMOJI[name]) };
}

export function address(text, at, scene) {
  if (scene?.verbatim) return null;
  const found = /^https?:\/\/[^\s<>|]*[^\s<>|.,;:!?)'"*_~]/.exec(text.slice(at, at + 3000))?.[0];
  return found ? { end: at + found.length, node: link(unescaped(found), unescaped(found)) } : null;
}

function lineBreak(_, at) {
  return { end: at + 1, node: node("br") };
}

/** What stands in angle brackets: a link, a mention, a date, a call to everybody. */
export function angle(text, at, scene) {
  const found = /^<([^<>|\n]+)(?:\|([^<>\n]*))?>/.exec(text.slice(at, at + 4000));
  if (!found) return null;
  const [all, target, words] = found;
  const drawn = drawAngle(unescaped(target), words && unescaped(words), scene);
  return drawn && { end: at + all.length, node: drawn };
}

/** Null for what is none of these: brackets that mean nothing stay text. */
function drawAngle(target, words, scene) {
  if (target[0] === "@") return mention(target.slice(1), words, scene);
  if (target[0] === "#") return channelName(target.slice(1), words, scene);
  if (target.startsWith("!date^")) return moment(target.split("^"), words, scene);
  if (target.startsWith("!subteam^")) return node("span", { class: "mention" }, words || "@group");
  if (target[0] === "!") return node("span", { class: "mention" }, `@${words || target.slice(1)}`);
  return safeAddress(target) && link(target, words || target.replace(/^mailto:/, ""));
}

export function mention(id, words, scene) {
  const known = (list) => list?.find((one) => one.id === id);
  const name = known(scene.people)?.real_name ?? known(scene.bots)?.name ?? words ?? id;
  return node("span", { class: id === scene.me?.id ? "mention me" : "mention" }, `@${name}`);
}

export function channelName(id, words, scene) {
  const name = scene.channels?.find((channel) => channel.id === id)?.name ?? words ?? "a channel you cannot see";
  return node("span", { class: "mention" }, `#${name}`);
}

/** `<!date^1700000000^{date} at {time}^https://…|fallback>` in the reader's time zone. */
export function moment([, seconds, format = "{date_short_pretty} at {time}", target], fallback, scene) {
  if (!/^\d+$/.test(seconds)) return node("span", {}, fallback ?? "");
  const when = node(
    "time",
    { datetime: new Date(Number(seconds) * 1000).toISOString(), title: wholeMoment(seconds, scene) },
    formatDate(seconds, format, scene),
  );
  return target ? link(target, when) : when;
}

const INLINE = {
  "<": angle,
  "`": code,
  "*": between("*", "strong"),
  _: between("_", "em"),
  "~": between("~", "s"),
  ":": emoji,
  h: address,
};
