// Format a moment as the reader sees it: in their time zone, relative to the workspace's clock.

const PARTS = {
  date_short: { year: "numeric", month: "short", day: "numeric" },
  date_long: { weekday: "long", year: "numeric", month: "long", day: "numeric" },
  time: { hour: "numeric", minute: "2-digit" },
  time_secs: { hour: "numeric", minute: "2-digit", second: "2-digit" },
};
const DAY = 86_400_000;

function format(moment, options, scene) {
  return new Intl.DateTimeFormat("en", { ...options, timeZone: scene.me?.tz || "UTC" }).format(moment);
}

/** Return "today", "yesterday" or "tomorrow" for the reader, else undefined. */
function nearDay(moment, scene) {
  const near = { yesterday: -DAY, today: 0, tomorrow: DAY };
  const day = (at) => format(at, PARTS.date_short, scene);
  return Object.keys(near).find((word) => day(moment) === day(new Date(+new Date(scene.now) + near[word])));
}

/** Return Slack's date format, such as `{date_short_pretty} at {time}`, filled in for *seconds* since 1970. */
export function formatDate(seconds, pattern, scene) {
  const moment = new Date(Number(seconds) * 1000);
  return pattern.replace(/\{(\w+)\}/g, (whole, name) => {
    const plain = name.replace(/_pretty$/, "");
    return (plain !== name && nearDay(moment, scene)) || (PARTS[plain] ? format(moment, PARTS[plain], scene) : whole);
  });
}

/** Return the hour and minute of a message. */
export function clockTime(ts, scene) {
  return formatDate(ts, "{time}", scene);
}

/** Return the whole moment, for a tooltip. */
export function wholeMoment(ts, scene) {
  return formatDate(ts, "{date_long} at {time_secs}", scene);
}

/** Return the words of the line between two days of messages. */
export function dayWords(ts, scene) {
  const words = formatDate(ts, "{date_long_pretty}", scene);
  return words[0].toUpperCase() + words.slice(1);
}
