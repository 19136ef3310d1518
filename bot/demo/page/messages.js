// Draw the messages of a channel; unchanged messages keep their nodes, so that focus and selections stay.

import { drawBlocks, valuesOf } from "./blocks.js";
import { clockTime, dayWords, wholeMoment } from "./dates.js";
import { mrkdwn } from "./mrkdwn.js";
import { appAvatar, avatar, icon, node } from "./nodes.js";
import { failureOf, wentWell } from "./server.js";

const TOGETHER = 300; // seconds between messages that are shown under one name
export const SLACKBOT = "USLACKBOT";

/** Return one message; *compact* leaves out the author and the time, which the message before it shows. */
function drawMessage(message, scene, { compact = false } = {}) {
  const here = { ...scene, handle: message.id, fields: [] };
  const failed = node("p", { class: "act-failed", role: "alert" });
  here.click = (action) => clickIn(here, action, failed, scene);
  const { blocks } = message;
  const words = blocks.length ? drawBlocks(blocks, here) : [node("div", { class: "words" }, mrkdwn(message.text, scene))];
  const classes = ["message", compact && "compact", message.ephemeral && "ephemeral", isReply(message) && "reply"];
  const time = clockTime(message.ts, scene);
  const edited = message.edited && node("span", { class: "edited" }, "(edited)");
  return node(
    "article",
    {
      class: classes.filter(Boolean).join(" "),
      "aria-label": `${message.user.name}, ${time}`,
      "data-testid": "message",
      "data-ephemeral": String(Boolean(message.ephemeral)),
      "data-ts": message.ts,
      "data-handle": message.id,
    },
    compact ? node("span", { class: "gutter", "aria-hidden": "true" }, time) : face(message, scene),
    node("div", { class: "body" }, !compact && headLine(message, scene), ...words, edited, failed),
    ...menuOf(message, scene, failed),
  );
}

/** Return the app's shortcuts for the message of a person, which Slack has in the menu of a message. */
function menuOf(message, scene, failed) {
  if (message.user.bot) return [];
  return scene.shortcuts.map(({ callback_id, name }) => {
    const button = node("button", { class: "shortcut", type: "button" }, name);
    button.addEventListener("click", async () => {
      failed.replaceChildren();
      const answer = await scene.shortcut({ handle: message.id, callback_id });
      if (!wentWell(answer)) showFailure(message.id, failureOf(answer));
    });
    return button;
  });
}

function isReply(message) {
  return Boolean(message.thread_ts) && message.thread_ts !== message.ts;
}

async function clickIn(here, action, failed, scene) {
  failed.replaceChildren();
  const answer = await scene.click({ handle: here.handle, action, values: valuesOf(here.fields) });
  if (!wentWell(answer)) showFailure(here.handle, failureOf(answer));
}

/** Show a failure under the message as it is drawn now: it may have been drawn again since the click. */
function showFailure(handle, words) {
  const line = document.querySelector(`[data-handle="${CSS.escape(handle)}"] .act-failed`);
  line?.replaceChildren(icon("warning"), words);
  line?.scrollIntoView({ block: "nearest" });
}

function face(message, scene) {
  if (message.user.bot && message.user.id !== SLACKBOT) return appAvatar();
  const person = scene.people?.find(({ id }) => id === message.user.id);
  return avatar(message.user.name, person?.avatar_color);
}

function headLine(message, scene) {
  const only = message.ephemeral && node("p", { class: "only" }, icon("eye"), "Only visible to you");
  const moment = { datetime: new Date(Number(message.ts) * 1000).toISOString(), title: wholeMoment(message.ts, scene) };
  return [
    only,
    node(
      "p",
      { class: "head" },
      node("strong", {}, message.user.name),
      message.user.bot && node("span", { class: "badge" }, "APP"),
      node("time", moment, clockTime(message.ts, scene)),
      isReply(message) && node("span", { class: "in-thread" }, "replied in a thread"),
    ),
  ];
}

/** Return whether *message* continues *before*: same person, within minutes, both plain messages in the channel. */
function goesOn(message, before) {
  const special = [message, before].some((each) => !each || each.ephemeral || each.thread_ts || each.user.bot);
  return !special && message.user.id === before.user.id && message.ts - before.ts < TOGETHER;
}

/** The messages inside *list*; only new and changed messages are drawn again. */
export class MessageList {
  constructor(list) {
    this.list = list;
    this.drawn = new Map();
    this.place = null;
    this.followed = true;
    list.addEventListener("scroll", () => (this.followed = this.isLow()));
    // A picture has its height only once it is loaded; a reader at the newest message stays there.
    list.addEventListener("load", () => this.followed && this.toNewest(), true);
  }

  isLow() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 120;
  }

  toNewest() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  /** Show *messages* of *place* below *intro*; another place than before begins at its newest message. */
  show(place, messages, scene, intro) {
    const moved = place !== this.place;
    const low = this.isLow();
    if (moved) this.drawn.clear();
    this.place = place;
    this.list.setAttribute("aria-busy", String(moved));
    const focus = this.focusNow();
    this.arrange([...this.lines(messages, scene, intro)]);
    this.restore(focus);
    if (moved || low) this.toNewest();
    this.list.setAttribute("aria-busy", "false");
  }

  /** Yield the nodes in order; the same content has the same node as last time. */
  *lines(messages, scene, intro) {
    const before = this.drawn;
    this.drawn = new Map();
    const keep = (key, draw) => {
      const made = before.get(key) ?? draw();
      this.drawn.set(key, made);
      return made;
    };
    yield keep(`intro ${intro.key}`, intro.draw);
    let last = null;
    for (const message of messages) {
      const day = dayWords(message.ts, scene);
      const newDay = !last || dayWords(last.ts, scene) !== day;
      if (newDay) yield keep(`day ${day}`, () => node("div", { class: "day" }, node("span", {}, day)));
      const compact = !newDay && goesOn(message, last);
      yield keep(JSON.stringify([scene.me?.id, compact, message]), () => drawMessage(message, scene, { compact }));
      last = message;
    }
  }

  arrange(nodes) {
    const wanted = new Set(nodes);
    for (const child of [...this.list.children]) if (!wanted.has(child)) child.remove();
    nodes.forEach((made, at) => {
      if (this.list.children[at] !== made) this.list.insertBefore(made, this.list.children[at] ?? null);
    });
  }

  focusNow() {
    const focused = document.activeElement;
    const message = this.list.contains(focused) && focused.closest("[data-handle]");
    return message && { handle: message.dataset.handle, action: focused.dataset.actionId };
  }

  /** Focus the same control of a message that was drawn again, else the list. */
  restore(focus) {
    if (!focus || this.list.contains(document.activeElement)) return;
    const message = this.list.querySelector(`[data-handle="${CSS.escape(focus.handle)}"]`);
    const same = focus.action && message?.querySelector(`[data-action-id="${CSS.escape(focus.action)}"]`);
    (same || message?.querySelector("button, a, input, select") || this.list).focus({ preventScroll: true });
  }
}
