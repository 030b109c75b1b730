// Asking before an unmodified face is shown: the dialogs for requesting and for answering a direct call.

import { $, make, onAction, openDialog, setText } from "./dom.js";
import { directCall, remotes } from "./state.js";
import { t } from "./strings.js";

const READ_MS = 700; // a click within this was meant for what lay there before, and is no consent
// Who was declined twice within this is declined unasked: the dialog lies over everything, leaving included.
const NAGGED_MS = 60000;

/**
 * `onRequest(terminal)` when this person has confirmed to ask; `onAnswer(request, agreed)` once for each
 * request shown, declined when the dialog is closed in any other way.
 */
export class DirectDialogs {
  constructor({ onRequest, onAnswer }) {
    Object.assign(this, { onRequest, onAnswer });
    this.confirming = $("#direct-dialog");
    this.incoming = $("#direct-incoming");
    this.accept = $('[data-action="direct-accept"]');
    this.readTimer = this.paint = null;
    this.request = this.sender = null;
    this.declined = []; // { sender, at }
    this.active = false;
    onAction("direct-confirm", () => {
      this.confirming.close();
      if ($("#direct-peer").value) this.onRequest($("#direct-peer").value);
    });
    onAction("direct-accept", () => this.#answer(true));
    onAction("direct-decline", () => this.#answer(false));
    // Escape is no agreement. The event comes late: the dialog may be open for another request again.
    this.incoming.addEventListener("close", () => this.incoming.open || this.#answer(false));
  }

  /** Ask this person whether to request a direct call, and with whom: it has two members exactly. */
  confirm(state) {
    const peers = remotes(state);
    $("#direct-who").hidden = peers.length < 2;
    $("#direct-peer").replaceChildren(
      ...peers.map((peer) => make("option", { value: peer.terminal, textContent: peer.name })),
    );
    openDialog(this.confirming);
  }

  /** Somebody asks for a direct call. */
  asked({ request, sender, name }) {
    this.declined = this.declined.filter(({ at }) => performance.now() - at < NAGGED_MS);
    const declined = this.declined.filter((answer) => answer.sender === sender).length;
    if (this.request || declined >= 2) {
      this.onAnswer(request, false);
      return;
    }
    this.request = request;
    this.sender = sender;
    setText($("#incoming-title"), t("incomingTitle", { name }));
    setText($("#incoming-text"), t("incomingText", { name }));
    this.#holdBack();
    openDialog(this.incoming);
  }

  /** Keep the button that agrees disabled until its dialog has been seen for a moment. */
  #holdBack() {
    this.accept.disabled = true;
    clearTimeout(this.readTimer);
    cancelAnimationFrame(this.paint);
    // Counted from when it is painted: a busy or hidden page shows it later than it opens.
    this.paint = requestAnimationFrame(() => {
      this.readTimer = setTimeout(() => (this.accept.disabled = false), READ_MS);
    });
  }

  /** Follow the state: a request that is withdrawn or timed out is not asked any longer. */
  update(state) {
    this.active = Boolean(directCall(state));
    if (this.request && !(this.request in state.incoming)) {
      this.request = null;
      this.incoming.close();
    }
    if (this.active && this.confirming.open) this.confirming.close();
  }

  #answer(agreed) {
    const request = this.request;
    this.request = null;
    if (request && !agreed) this.declined.push({ sender: this.sender, at: performance.now() });
    if (this.incoming.open) this.incoming.close();
    if (request) this.onAnswer(request, agreed);
  }
}
