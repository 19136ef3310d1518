// Build DOM nodes from plain values, so that text is never read as markup.

const SVG = "http://www.w3.org/2000/svg";
const SAFE_SCHEMES = ["http:", "https:", "mailto:", "tel:"];

/**
 * Return a *tag* with *attributes* and *children*.
 *
 * A function is a listener (`onclick`), `true` an attribute without a value; false, null and undefined are left out, also
 * among the children.
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

/** Return the icon *name* of icons.svg: decoration, hidden from assistive technology. */
export function icon(name) {
  const made = document.createElementNS(SVG, "svg");
  made.setAttribute("class", "icon");
  made.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/page/icons.svg#${name}`);
  made.append(use);
  return made;
}

/** Return *address* if its scheme is harmless, else null: a message may not carry a script. */
export function safeAddress(address) {
  try {
    return SAFE_SCHEMES.includes(new URL(address).protocol) ? address : null;
  } catch {
    return null;
  }
}

/** Return a link that opens in a new tab; *address* must be safe. */
export function link(address, words) {
  return node("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, words);
}

/** Return the square with initials that stands for a person. */
export function avatar(name, color = "#5b6770") {
  const letters = name.split(/\s+/).slice(0, 2).map((word) => word[0]).join("").toUpperCase();
  const square = node("span", { class: "avatar", "aria-hidden": "true" }, letters);
  square.style.background = color;
  return square;
}

/** Return the app's own square. */
export function appAvatar() {
  return node("img", { class: "avatar", src: "/page/icon.svg", alt: "" });
}

let busyCount = 0;

/** Run *work* with *control* marked busy; a second call meanwhile does nothing. */
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
