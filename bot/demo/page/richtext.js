// Draw the two other ways an app writes long text: the rich_text block, and the markdown block.

import { EMOJI } from "./emoji.js";
import { address, angle, between, channelName, code, emoji, mention, moment, scan } from "./mrkdwn.js";
import { link, node } from "./nodes.js";

const STYLES = { code: "code", bold: "strong", italic: "em", strike: "s" };

/** A rich_text block: its parts, one after the other. */
export function drawRichText(block, scene) {
  return node("div", { class: "rich-text" }, ...(block.elements ?? []).map((part) => drawPart(part, scene)));
}

function drawPart(part, scene) {
  const words = () => (part.elements ?? []).map((piece) => drawPiece(piece, scene));
  switch (part.type) {
    case "rich_text_list": {
      const items = (part.elements ?? []).map((item) => node("li", {}, drawPart(item, scene)));
      const list = node(part.style === "ordered" ? "ol" : "ul", { start: part.offset ? part.offset + 1 : null }, ...items);
      list.style.marginInlineStart = `${(part.indent ?? 0) * 1.5}em`;
      return list;
    }
    case "rich_text_quote":
      return node("blockquote", {}, ...words());
    case "rich_text_preformatted":
      return node("pre", { tabindex: "0" }, ...words());
    default:
      return node("div", {}, ...words());
  }
}

const PIECES = {
  text: (piece) => node("span", { class: "pre-line" }, piece.text),
  link: (piece) => link(piece.url, piece.text || piece.url),
  user: (piece, scene) => mention(piece.user_id, null, scene),
  channel: (piece, scene) => channelName(piece.channel_id, null, scene),
  usergroup: () => node("span", { class: "mention" }, "@group"),
  broadcast: (piece) => node("span", { class: "mention" }, `@${piece.range}`),
  emoji: (piece) =>
    node("span", { role: "img", class: "emoji", "aria-label": piece.name }, EMOJI[piece.name] ?? `:${piece.name}:`),
  date: (piece, scene) => moment([null, String(piece.timestamp), piece.format, piece.url], piece.fallback, scene),
  color: (piece) => node("code", {}, piece.value),
};

function drawPiece(piece, scene) {
  const draw = Object.hasOwn(PIECES, piece.type) ? PIECES[piece.type] : () => node("span", {}, piece.text ?? "");
  return Object.entries(STYLES).reduce(
    (inner, [style, tag]) => (piece.style?.[style] ? node(tag, {}, inner) : inner),
    draw(piece, scene),
  );
}

const MARKDOWN = {
  "*": (...where) => between("**", "strong")(...where) ?? between("*", "em")(...where),
  _: (...where) => between("__", "strong")(...where) ?? between("_", "em")(...where),
  "~": between("~~", "s"),
  "`": code,
  "[": titledLink,
  "<": angle,
  ":": emoji,
  h: address,
};

function titledLink(text, at, scene) {
  const found = /^\[([^\]\n]+)\]\(([^)\s]+)\)/.exec(text.slice(at, at + 4000));
  if (!found) return null;
  const words = scan(found[1], { ...MARKDOWN, "[": undefined, h: undefined }, scene);
  return { end: at + found[0].length, node: link(found[2], words) };
}

/** Kinds of lines of standard markdown; lines of one kind that follow each other are drawn together. */
const LINES = [
  { kind: "rule", pattern: /^ *(?:-{3,}|\*{3,}|_{3,}) *$/, draw: () => node("hr") },
  { kind: "heading", pattern: /^(#{1,6}) +/, draw: (lines) => lines.map(drawHeading) },
  { kind: "quote", pattern: /^> ?/, draw: (lines) => node("blockquote", {}, ...brokenLines(lines)) },
  { kind: "bullets", pattern: /^ *[-*+] +(\[[ xX]\] +)?/, draw: (lines) => node("ul", {}, ...lines.map(drawItem)) },
  { kind: "numbers", pattern: /^ *(\d+)[.)] +/, draw: (lines) => node("ol", { start: lines[0].mark[1] }, ...lines.map(drawItem)) },
  { kind: "table", pattern: /^ *\|(?=.*\| *$)/, draw: drawTable },
  { kind: "blank", pattern: /^\s*$/, draw: () => [] },
  { kind: "text", pattern: /^/, draw: (lines) => node("p", {}, ...brokenLines(lines)) },
];

function brokenLines(lines) {
  return lines.flatMap(({ words }, at) => (at ? [node("br"), words] : [words]));
}

function drawHeading({ mark, words }) {
  return node(mark[1].length === 1 ? "h3" : "h4", {}, words);
}

function drawItem({ mark, words }) {
  const box = { "[ ]": "☐ ", "[x]": "☑ ", "[X]": "☑ " }[mark[1]?.trim()];
  return node("li", {}, box, words);
}

function drawTable(lines, scene) {
  const all = lines.map(({ line }) => line.trim().slice(1, -1).split("|").map((cell) => cell.trim()));
  const rule = all.find((row) => row.every((cell) => /^:?-+:?$/.test(cell))) ?? [];
  const sides = rule.map((cell) => (cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : ""));
  const [head = [], ...body] = all.filter((row) => row !== rule);
  const line = (row, tag) => node("tr", {}, ...row.map((cell, column) => {
    const made = node(tag, tag === "th" ? { scope: "col" } : {}, scan(cell, MARKDOWN, scene));
    made.style.textAlign = sides[column] ?? "";
    return made;
  }));
  const table = node("table", {}, node("thead", {}, line(head, "th")), node("tbody", {}, ...body.map((row) => line(row, "td"))));
  return node("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": "Table" }, table);
}

/** A markdown block: headings, lists, quotes, code, tables and links of standard markdown. */
export function drawMarkdown(block, scene) {
  const out = node("div", { class: "markdown" });
  String(block.text ?? "").split(/^```.*\n([\s\S]*?)\n?^```$/m).forEach((part, index) => {
    if (index % 2) out.append(node("pre", { tabindex: "0" }, part));
    else out.append(...drawLines(part, scene));
  });
  return out;
}

function drawLines(text, scene) {
  const runs = [];
  for (const line of text.split("\n")) {
    const kind = LINES.find(({ pattern }) => pattern.test(line));
    const mark = kind.pattern.exec(line);
    if (runs.at(-1)?.kind !== kind) runs.push({ kind, lines: [] });
    runs.at(-1).lines.push({ line, mark, words: scan(line.slice(mark[0].length), MARKDOWN, scene) });
  }
  return runs.flatMap(({ kind, lines }) => kind.draw(lines, scene));
}
