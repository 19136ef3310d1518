// Open and close the two sides: the channel list is a drawer on a narrow screen, the CRM panel a sheet.

const NARROW = matchMedia("(max-width: 759px)");
const BESIDE = matchMedia("(min-width: 1080px)");
const at = (id) => document.getElementById(id);

export class Drawers {
  constructor() {
    this.drawer = false;
    this.panel = BESIDE.matches && localStorage.getItem("panel") !== "folded";
    at("open-drawer").addEventListener("click", () => this.set({ drawer: true }, "who"));
    at("close-drawer").addEventListener("click", () => this.set({ drawer: false }, "open-drawer"));
    at("toggle-panel").addEventListener("click", () =>
      this.set({ panel: !this.panel }, this.panel ? "toggle-panel" : "push-choice"),
    );
    at("close-panel").addEventListener("click", () => this.set({ panel: false }, "toggle-panel"));
    at("shade").addEventListener("click", () => this.close());
    document.addEventListener("keydown", (event) => event.key === "Escape" && !event.defaultPrevented && this.close());
    NARROW.addEventListener("change", () => this.close());
    BESIDE.addEventListener("change", () => this.close());
    this.apply();
  }

  /** Close what covers the messages; a panel beside them stays open. */
  close() {
    if (document.querySelector("dialog[open]")) return;
    const back = this.drawer ? "open-drawer" : this.panel && !BESIDE.matches ? "toggle-panel" : null;
    this.set({ drawer: false, panel: this.panel && BESIDE.matches }, back);
  }

  set({ drawer = this.drawer, panel = this.panel }, focus) {
    if (BESIDE.matches && panel !== this.panel) localStorage.setItem("panel", panel ? "open" : "folded");
    Object.assign(this, { drawer, panel });
    this.apply();
    if (focus) at(focus).focus();
  }

  apply() {
    const drawer = this.drawer && NARROW.matches;
    const sheet = this.panel && !BESIDE.matches;
    document.body.dataset.panel = this.panel ? "open" : "folded";
    document.body.dataset.drawer = drawer ? "open" : "closed";
    at("panel").hidden = !this.panel;
    at("shade").hidden = !drawer && !sheet;
    at("main").inert = drawer || sheet;
    at("sidebar").inert = sheet || (NARROW.matches && !drawer);
    at("open-drawer").setAttribute("aria-expanded", String(drawer));
    at("toggle-panel").setAttribute("aria-expanded", String(this.panel));
  }
}
