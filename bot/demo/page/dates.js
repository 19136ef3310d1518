// Say a moment as the person reading it would: in their time zone, near to the workspace's clock.

const PARTS = {
  date_num: { year: "numeric", month: "2-digit", day: "2-digit" },
  date: { year: "numeric", month: "long", day: "numeric" },
  date_short: { year: "numeric", month: "short", day: "numeric" },
  date_long: { weekday: "long", year: "numeric", month: "long", day: "numeric" },
  time: { hour: "numeric", minute: "2-digit" },
  time_secs: { hour: "numeric", minute: "2-digit", second: "2-digit" },
};
const DAY = 86_400_000;

function say(moment, options, scene) {
  try {
    return new Intl.DateTimeFormat("en", { ...options, timeZone: scene.me?.tz || "UTC" }).format(moment);
  } catch {
    return new Intl.DateTimeFormat("en", { ...options, timeZone: "UTC" }).format(moment);
  }
}

function day(moment, scene) {
  return say(moment, { year: "numeric", month: "2-digit", day: "2-digit" }, scene);
}

/** "today", "yesterday" or "tomorrow" where *moment* is that for the reader, else null. */
function nearDay(moment, scene) {
  const now = new Date(scene.now);
  const near = { yesterday: -DAY, today: 0, tomorrow: DAY };
  return Object.keys(near).find((word) => day(moment, scene) === day(new Date(+now + near[word]), scene)) ?? null;
}

/** How long ago, or until: "3 hours ago", "in 2 days". */
export function ago(moment, scene) {
  const seconds = (moment - new Date(scene.now)) / 1000;
  const units = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, size] = units.find(([, length]) => Math.abs(seconds) >= length) ?? units.at(-1);
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.trunc(seconds / size), unit);
}

function token(name, moment, scene) {
  if (name === "ago") return ago(moment, scene);
  const plain = name.replace(/_pretty$/, "");
  const near = plain !== name && nearDay(moment, scene);
  return near || (PARTS[plain] ? say(moment, PARTS[plain], scene) : `{${name}}`);
}

/** Slack's date *format* (`{date_short_pretty} at {time}`) filled in for *seconds* since 1970. */
export function formatDate(seconds, format, scene) {
  const moment = new Date(Number(seconds) * 1000);
  return format.replace(/\{(\w+)\}/g, (_, name) => token(name, moment, scene));
}

/** The hour and minute of a message. */
export function clockTime(ts, scene) {
  return say(new Date(Number(ts) * 1000), PARTS.time, scene);
}

/** The whole moment, for a tooltip. */
export function wholeMoment(ts, scene) {
  return formatDate(ts, "{date_long} at {time_secs}", scene);
}

/** The words of the line between two days of messages. */
export function dayWords(ts, scene) {
  const words = formatDate(ts, "{date_long_pretty}", scene);
  return words[0].toUpperCase() + words.slice(1);
}
