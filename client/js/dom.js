// Small helpers around the document: finding, making, icons, notices for eyes and for screen readers.

import { t } from "./strings.js";
import { placeToasts } from "./toasts.js";

const SVG = "http://www.w3.org/2000/svg";
const TOAST_MS = 6000;

export const $ = (selector, root = document) => root.querySelector(selector);

/** An element with properties (`class`, `data-…`, `aria-…` as attributes, the rest as properties) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name === "class" || name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** One of the drawings of icons.svg, hidden from screen readers: its button says it in words. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Give an element's icon another drawing. */
export function setIcon(element, name) {
  const use = $("use", element);
  const href = `/static/icons.svg#${name}`;
  if (use.getAttribute("href") !== href) use.setAttribute("href", href);
}

/** Change text only when it differs, so that live regions do not repeat themselves. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Say something to screen readers alone. */
export function announce(text) {
  setText($("#announcer"), text);
}

/** A short notice for everybody, gone after a while. */
export function toast(key, values = {}) {
  const text = t(key, values);
  if (!text) return;
  const box = $("#toasts");
  const element = make("p", { class: "toast" }, text);
  box.replaceChildren(element); // the newest alone: two would hide what stands below the first
  // A popover that is shown again stands above dialogs that were opened since.
  if (box.showPopover) {
    if (box.matches(":popover-open")) box.hidePopover();
    box.showPopover();
  }
  placeToasts(box);
  setTimeout(() => element.remove(), TOAST_MS);
}

/** Listen to clicks on every button with this `data-action`, also those made later. */
export function onAction(action, handler) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.(`[data-action="${action}"]`);
    if (button && !button.disabled) handler(button, event);
  });
}

/** Open a dialog as modal; the browser keeps the focus inside and gives it back at the end. */
export function openDialog(dialog) {
  if (!dialog.open) dialog.showModal();
}

/** Let `data-close` buttons and clicks on the backdrop close every dialog. */
export function wireDialogs() {
  for (const dialog of document.querySelectorAll("dialog")) {
    // Text that is selected to beyond the edge ends with a click outside too; only one that began there closes.
    let beganOutside = false;
    dialog.addEventListener("pointerdown", (event) => {
      beganOutside = event.target === dialog && isOutside(dialog, event);
    });
    dialog.addEventListener("click", (event) => {
      const closes = event.target.closest("[data-close]");
      const outside = beganOutside && event.target === dialog && isOutside(dialog, event);
      if (closes || (outside && dialog.role !== "alertdialog")) dialog.close();
    });
  }
}

function isOutside(dialog, { clientX, clientY }) {
  const box = dialog.getBoundingClientRect();
  return clientX < box.left || clientX > box.right || clientY < box.top || clientY > box.bottom;
}

/** Put a link on the clipboard; where that is not possible, show it. */
export async function copyLink(link, said = "linkCopied") {
  try {
    await navigator.clipboard.writeText(link);
    toast(said);
  } catch {
    toast("linkIs", { link });
  }
}
