// Build DOM nodes from plain values, so that text is never read as markup.

const SVG = "http://www.w3.org/2000/svg";
const SAFE_SCHEMES = ["http:", "https:", "mailto:", "tel:"];

/**
 * A *tag* with *attributes* and *children*.
 *
 * A function is a listener (`onclick`), `true` a bare attribute; false, null and undefined are left out,
 * among the children too.
 */
export function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== false && child !== null && child !== undefined));
  return made;
}

/** The icon *name* of icons.svg: decoration, hidden from assistive technology. */
export function icon(name) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("class", "icon");
  made.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/page/icons.svg#${name}`);
  made.append(use);
  return made;
}

/** *address* where following it is harmless, else null: a message may not carry a script. */
export function safeAddress(address) {
  try {
    return SAFE_SCHEMES.includes(new URL(address).protocol) ? address : null;
  } catch {
    return null;
  }
}

/** A link that opens beside the workspace; only its words where the address is not a safe one. */
export function link(address, ...words) {
  const safe = safeAddress(address);
  const outward = { href: safe, target: "_blank", rel: "noopener noreferrer" };
  return safe ? node("a", outward, ...words) : node("span", {}, ...words);
}

/** The square with initials that stands for a person; *colour* as dark as white letters on it need. */
export function avatar(name, colour) {
  const letters = name.split(/\s+/).slice(0, 2).map((word) => word[0] ?? "").join("").toUpperCase();
  const square = node("span", { class: "avatar", "aria-hidden": "true" }, letters);
  const [, hex] = /^#?([0-9a-f]{6})$/i.exec(colour ?? "") ?? [null, "5b6770"];
  let parts = hex.match(/../g).map((part) => parseInt(part, 16));
  while (luminance(parts) > 0.18) parts = parts.map((part) => part * 0.95);
  square.style.background = `rgb(${parts.map(Math.round).join(" ")})`;
  return square;
}

/** The app's own square. */
export function appAvatar() {
  return node("img", { class: "avatar", src: "/page/icon.svg", alt: "" });
}

function luminance(parts) {
  const linear = (share) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  const [red, green, blue] = parts.map((part) => linear(part / 255));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

let busyCount = 0;

/** Run *work* with *control* marked busy; pressed again meanwhile, nothing happens. */
export async function whileBusy(control, work) {
  if (control.getAttribute("aria-busy") === "true") return undefined;
  control.setAttribute("aria-busy", "true");
  document.documentElement.dataset.busy = String(++busyCount);
  try {
    return await work();
  } finally {
    control.removeAttribute("aria-busy");
    document.documentElement.dataset.busy = String(--busyCount);
  }
}
