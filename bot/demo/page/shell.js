// The workspace: the chosen person and channel, the state from the server, and everything drawn from it.

import { AgentPanel } from "./agent.js";
import { Composer } from "./composer.js";
import { Drawers } from "./drawers.js";
import { HomeTab } from "./home.js";
import { MessageList, SLACKBOT } from "./messages.js";
import { Modals } from "./modals.js";
import { icon, node } from "./nodes.js";
import { PushPanel } from "./pushes.js";
import { act, fetchState, listen, wentWell } from "./server.js";

const HOME = "home";
const FIRST_CHANNEL = "sales";
const FIRST_USER = "U0REP";
const KINDS = {
  rep: "A member of the sales team.",
  member: "A member of the workspace.",
  admin: "Owner of the workspace: may also change settings.",
  guest: "A guest from a partner: scores are internal, so the app should refuse.",
  outsider: "Works elsewhere and is only in the shared channel: the app should refuse.",
};
const INTROS = {
  channel: "Try one of the lines below; answers to commands are for you alone.",
  shared: "People of another organization read this channel. Scores are internal: try a command, and see who reads what.",
  im: "Messages from the app to you alone arrive here.",
};
const ICONS = { channel: "hash", shared: "shared", im: "gauge" };

const at = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const chosen = { user: query.get("user") ?? FIRST_USER, channel: query.get("channel") };
const notes = new Map();

let state = null;
let stop = () => {};
let running = null;
let again = false;

const list = new MessageList(at("messages"));
const homeTab = new HomeTab(at("home"));
const drawers = new Drawers();
const composer = new Composer(at("composer"), say);
const panel = new PushPanel(at("panel"), (what, body) => actAndLook(what, body));
const agentPanel = new AgentPanel(at("agent"), actAndLook);
const modals = new Modals(at("modal"), {
  click: ({ handle, action, values }) => click(handle, action, values),
  submit: ({ view, values }) => actAndLook("submit", { user: chosen.user, view, values }),
  close: ({ view }) => actAndLook("close", { user: chosen.user, view }),
});

/** Fetch the state and draw it; after a call meanwhile, it is fetched once more. */
function refresh() {
  again = true;
  running ??= fetchAndDraw();
  return running;
}

async function fetchAndDraw() {
  try {
    while (again) {
      again = false;
      const { user } = chosen;
      const fetched = await fetchState(user).catch((error) => (error.status === 404 ? become(FIRST_USER) : null));
      at("lost").hidden = fetched !== null;
      if (!fetched || user !== chosen.user) continue;
      state = fetched;
      draw();
    }
  } finally {
    running = null;
  }
}

async function actAndLook(what, body) {
  const answer = await act(what, body);
  await refresh();
  return answer;
}

function click(handle, action, values) {
  const { block_id, action_id } = action;
  return actAndLook("click", { user: chosen.user, handle, block_id, action_id, choice: action, values });
}

async function say(text) {
  const { user, channel } = chosen;
  const answer = await actAndLook("say", { user, channel: channel === HOME ? state.channels[0].id : channel, text });
  if (!wentWell(answer)) showNote(user, channel, answer.note || `The app answered ${answer.status}.`);
}

/** Show *text* as Slackbot does: below the newest message of *channel*, to *user* alone, until the page is left. */
function showNote(user, channel, text) {
  const newest = state.messages[channel]?.slice(-3) ?? [];
  if (newest.some((message) => message.user.id === SLACKBOT && message.text === text)) return;
  const key = `${user} ${channel}`;
  const after = state.messages[channel]?.at(-1)?.ts ?? String(new Date(state.now) / 1000);
  const mine = notes.get(key) ?? [];
  const slackbot = { id: SLACKBOT, name: "Slackbot", bot: true };
  const note = { id: `note-${key}-${mine.length}`, ts: after, channel, user: slackbot, text, blocks: [], ephemeral: true };
  notes.set(key, [...mine, note]);
  draw();
}

function withNotes(channel) {
  const mine = notes.get(`${chosen.user} ${channel}`) ?? [];
  return [...(state.messages[channel] ?? []), ...mine].sort((a, b) => a.ts - b.ts);
}

function scene() {
  const { me, people, groups, channels, messages, now, shortcuts } = state;
  const bots = Object.values(messages).flat().map(({ user }) => user).filter(({ bot }) => bot);
  return {
    me, people, groups, channels, bots, now, shortcuts,
    shortcut: ({ handle, callback_id }) => actAndLook("shortcut", { user: chosen.user, handle, callback_id }),
    click: ({ handle, action, values }) => click(handle, action, values),
    optionsFor: (handle) => (block_id, action_id, value) => fetchOptions({ handle, block_id, action_id, value }),
  };
}

async function fetchOptions(search) {
  const answer = await act("options", { user: chosen.user, ...search });
  if (!answer.options) throw new Error(answer.note ?? "no options");
  return answer.options;
}

function draw() {
  const here = scene();
  const places = state.channels.map(({ id }) => id);
  const known = chosen.channel === HOME ? state.home : places.includes(chosen.channel);
  const wanted = ({ name }) => name === chosen.channel || name === FIRST_CHANNEL;
  if (!known) chosen.channel = state.channels.find(wanted)?.id ?? places[0];
  remember();
  at("team").textContent = state.team.name;
  drawWho();
  drawChannels();
  drawPlace(here);
  panel.offer(state.pushes, here);
  agentPanel.offer(state.agent);
  modals.show(state.views.filter(({ type }) => type !== "home"), here);
}

function remember() {
  const wanted = `?user=${chosen.user}&channel=${chosen.channel}`;
  if (location.search !== wanted) history.replaceState(null, "", wanted);
}

function drawWho() {
  const picker = at("who");
  const key = state.people.map(({ id }) => id).join();
  if (picker.dataset.key !== key) {
    picker.dataset.key = key;
    const option = ({ id, real_name: name, kind }) => node("option", { value: id }, `${name} (${kind})`);
    picker.replaceChildren(...state.people.map(option));
  }
  picker.value = chosen.user;
  at("who-line").textContent = KINDS[state.me.kind] ?? "";
}

function entry({ id, name, kind, unread }) {
  const current = id === chosen.channel;
  const fresh = unread > 0 && !current;
  const words = [icon(id === HOME ? "home" : ICONS[kind]), node("span", { class: "entry-name" }, name)];
  if (kind === "shared") words.push(node("span", { class: "unseen" }, " (shared)"));
  if (fresh) words.push(node("span", { class: "unread" }, String(unread), node("span", { class: "unseen" }, " unread")));
  const about = {
    type: "button",
    class: fresh ? "entry new" : "entry",
    "aria-current": current ? "page" : null,
    "data-testid": `channel-${id === HOME ? HOME : name}`,
    "data-id": id,
    onclick: () => go(id),
  };
  return node("li", {}, node("button", about, ...words));
}

function drawChannels() {
  const apps = state.channels.filter(({ kind }) => kind === "im");
  if (state.home) apps.push({ id: HOME, name: "App Home", unread: 0 });
  const groups = [["Channels", state.channels.filter(({ kind }) => kind !== "im")], ["Apps", apps]];
  const focused = at("channels").contains(document.activeElement) && document.activeElement.dataset.id;
  at("channels").replaceChildren(
    ...groups.filter(([, entries]) => entries.length).flatMap(([name, entries]) => [
      node("h2", { id: `group-${name}` }, name),
      node("ul", { "aria-labelledby": `group-${name}` }, ...entries.map(entry)),
    ]),
  );
  if (focused) at("channels").querySelector(`[data-id="${CSS.escape(focused)}"]`)?.focus();
}

function drawPlace(here) {
  const home = chosen.channel === HOME;
  const channel = state.channels.find(({ id }) => id === chosen.channel) ?? { name: "App Home", kind: HOME, topic: "" };
  const title = `${channel.kind === "channel" ? "#" : ""}${channel.name}`;
  document.title = `${title} · ${state.team.name} sandbox`;
  at("place").replaceChildren(icon(ICONS[channel.kind] ?? "home"), channel.name);
  at("topic").textContent = channel.topic || (channel.kind === "shared" ? "Shared with another organization" : "");
  at("messages").hidden = home;
  at("composer").hidden = home;
  at("home").hidden = !home;
  composer.offer({ examples: state.examples, commands: state.commands, where: title });
  if (home) return homeTab.show(state.home, here);
  list.show(`${chosen.user} ${chosen.channel}`, withNotes(chosen.channel), here, intro(channel, title));
  if (channel.unread) act("read", { user: chosen.user, channel: channel.id });
}

function intro(channel, title) {
  const draw = () =>
    node("div", { class: "intro" }, node("h2", {}, `This is the beginning of ${title}`), node("p", {}, INTROS[channel.kind]));
  return { key: channel.id, draw };
}

function go(channel) {
  chosen.channel = channel;
  drawers.close();
  draw();
  if (channel === HOME) actAndLook("home", { user: chosen.user });
  else at("composer").querySelector("textarea").focus();
}

function become(user) {
  chosen.user = user;
  stop();
  stop = listen(user, { changed: refresh, connected: (here) => (here ? refresh() : (at("lost").hidden = false)) });
  if (chosen.channel === HOME) actAndLook("home", { user });
  else refresh();
}

at("who").addEventListener("change", () => become(at("who").value));
become(chosen.user);
