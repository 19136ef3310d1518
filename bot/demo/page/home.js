// Draw the app's Home tab.

import { drawBlocks, valuesOf } from "./blocks.js";
import { icon, node } from "./nodes.js";
import { failureOf, wentWell } from "./server.js";

export class HomeTab {
  constructor(place) {
    this.place = place;
    this.key = null;
  }

  /** Show *view*; if it is unchanged, its nodes stay. */
  show(view, base) {
    const key = JSON.stringify([base.me.id, view]);
    if (key === this.key) return;
    this.key = key;
    const focused = this.place.contains(document.activeElement) ? document.activeElement.dataset.actionId : null;
    const failed = node("p", { class: "act-failed", role: "alert" });
    const scene = { ...base, fields: [] };
    scene.click = async (action) => {
      failed.replaceChildren();
      const answer = await base.click({ handle: view.id, action, values: valuesOf(scene.fields) });
      if (!wentWell(answer)) failed.replaceChildren(icon("warning"), failureOf(answer));
    };
    scene.options = base.optionsFor(view.id);
    this.place.replaceChildren(node("div", { class: "home-blocks" }, ...drawBlocks(view.blocks, scene), failed));
    if (focused) (this.place.querySelector(`[data-action-id="${CSS.escape(focused)}"]`) ?? this.place).focus();
  }
}
