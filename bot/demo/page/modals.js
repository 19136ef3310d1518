// Show the app's modal, keep what was typed into it, and submit it.

import { drawBlocks, valuesOf } from "./blocks.js";
import { wordsOf } from "./mrkdwn.js";
import { icon, node, whileBusy } from "./nodes.js";
import { failureOf, wentWell } from "./server.js";

/** Return the form of *view* in *scene*; *on* has the effects of its buttons: `submit`, `close`. */
function drawView(view, scene, on) {
  const body = node("div", { class: "modal-body" }, ...drawBlocks(view.blocks, scene));
  // A body that is only text must be focusable, to be scrolled by keyboard.
  if (!body.querySelector("button, a, input, select, textarea")) body.tabIndex = 0;
  const closing = wordsOf(view.close) || (view.submit ? "Cancel" : "Close");
  const submit = { type: "submit", class: "button primary", "data-testid": "modal-submit" };
  const form = node(
    "form",
    { class: "modal-form", novalidate: true, "data-view": view.id },
    node(
      "div",
      { class: "modal-head" },
      node("h2", { id: `modal-title-${view.id}` }, wordsOf(view.title)),
      node("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: on.close }, icon("close")),
    ),
    body,
    node(
      "div",
      { class: "modal-foot" },
      node("p", { class: "error", role: "alert", "data-error-of": "" }),
      node("button", { type: "button", class: "button", onclick: on.close }, closing),
      view.submit && node("button", submit, wordsOf(view.submit)),
    ),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    on.submit();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && view.submit) form.requestSubmit();
  });
  return form;
}

/** Show *errors* under their fields inside *form*, and focus the first; an error of no field is shown at the foot. */
function showErrors(form, errors, fields) {
  const left = { ...errors };
  for (const place of form.querySelectorAll("[data-error-of]")) {
    const words = left[place.dataset.errorOf] ?? "";
    delete left[place.dataset.errorOf];
    place.textContent = words;
    place.closest(".block-input")?.classList.toggle("wrong", Boolean(words));
  }
  for (const { block_id, focus } of fields) {
    if (errors[block_id]) focus.setAttribute("aria-invalid", "true");
    else focus.removeAttribute("aria-invalid");
  }
  if (Object.keys(left).length) form.querySelector('[data-error-of=""]').textContent = Object.values(left).join(" ");
  const first = fields.find(({ block_id }) => errors[block_id])?.focus;
  first?.focus();
  first?.closest(".block-input")?.scrollIntoView({ block: "nearest" });
}

/** The dialog that shows the open view; *server* has `click`, `submit` and `close`. */
export class Modals {
  constructor(dialog, server) {
    Object.assign(this, { dialog, server, view: null, fields: [], key: null, gone: new Set() });
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.dismiss();
    });
    dialog.addEventListener("close", () => dialog.open || this.dismiss());
  }

  /** Show the open view of *views*, or nothing; an updated view keeps what was typed into it. */
  show(views, base) {
    const view = views.find(({ id }) => !this.gone.has(id)) ?? null;
    const { errors, ...content } = view ?? {};
    const key = view && JSON.stringify([base.me?.id, content]);
    const shownErrors = JSON.stringify(errors ?? {});
    if (key !== this.key) this.draw(view, base);
    else if (view && shownErrors !== this.shownErrors) this.complain(errors ?? {});
    Object.assign(this, { key, shownErrors });
  }

  draw(view, base) {
    const focused = this.dialog.contains(document.activeElement) ? document.activeElement.dataset.actionId : null;
    const kept = view && view.id === this.view?.id ? valuesOf(this.fields) : {};
    this.view = view;
    this.fields = [];
    if (!view) {
      if (this.dialog.open) this.dialog.close();
      this.dialog.replaceChildren();
      return;
    }
    const scene = { ...base, fields: this.fields, kept, errors: view.errors ?? {} };
    scene.click = (action) => this.click(action);
    scene.options = base.optionsFor(view.id);
    this.form = drawView(view, scene, { submit: () => this.submit(), close: () => this.dismiss() });
    this.dialog.replaceChildren(this.form);
    this.dialog.setAttribute("aria-labelledby", `modal-title-${view.id}`);
    if (!this.dialog.open) this.dialog.showModal();
    this.settleFocus(focused);
  }

  settleFocus(actionId) {
    const same = actionId && this.form.querySelector(`[data-action-id="${CSS.escape(actionId)}"]`);
    const wanted = this.fields.find(({ input }) => input);
    const [last] = [...this.form.querySelectorAll(".modal-foot .button")].reverse();
    (same || wanted?.focus || last).focus();
  }

  async click(action) {
    const answer = await this.server.click({ handle: this.view.id, action, values: valuesOf(this.fields) });
    if (!wentWell(answer)) this.complain({ "": failureOf(answer) });
  }

  async submit() {
    const { view, form, fields } = this;
    const send = () => this.server.submit({ view: view.id, values: valuesOf(fields) });
    const answer = await whileBusy(form.querySelector("[type=submit]"), send);
    if (!answer || this.form !== form) return;
    if (Object.keys(answer.errors ?? {}).length) this.complain(answer.errors);
    else if (!wentWell(answer)) this.complain({ "": failureOf(answer) });
  }

  complain(errors) {
    showErrors(this.form, errors, this.fields);
  }

  /** Close the view at once, and then on the server. */
  dismiss() {
    const { view } = this;
    if (!view) return;
    this.gone.add(view.id);
    this.draw(null);
    this.key = null;
    this.server.close({ view: view.id });
  }
}
