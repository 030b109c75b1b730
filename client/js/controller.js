// What a person does and what the server says, turned into messages, media sessions and state.

import { TOKEN_ERRORS } from "./invitation.js";
import { CameraPace } from "./pace.js";
import { answerTo, shouldCall, uncalled, unconsented, wantedSessions } from "./policy.js";
import { directCall } from "./state.js";

const SETTLE_MS = 1500; // after a resume, what the server has not named by then is gone
// With these the server ends the terminal for good, when they answer its hello.
const LAST_WORDS = new Set(["superseded", "version_unsupported", "unauthorised", ...TOKEN_ERRORS]);
const ENTER_TRIES = 2; // how often a room is asked for on an open line before the lobby is shown
const CALL_AGAIN_MS = 2500; // between noticing somebody uncalled and calling: usually they call first

/**
 * Joins signaling, media and media sessions under one state.
 *
 * `ask(message)` is called for a request that only the person can answer (an unmodified picture), `say(key,
 * values)` with what is worth a short notice.
 */
export class Controller {
  constructor({ store, signaling, sessions, media, memory, ask, say }) {
    Object.assign(this, { store, signaling, sessions, media, memory, ask, say });
    this.pace = new CameraPace();
    this.consented = new Set(memory.get("consented", []));
    this.directAsked = new Set(); // ids of direct requests this person sent or accepted
    this.declined = new Set(); // terminals that declined: not called again unasked
    this.callTimer = this.leaveTimer = null;
    this.entering = 0; // counts the requests to enter a room: only the last one's answer matters
    signaling.on("*", (message) => this.#received(message));
    signaling.on("status", (status) => this.#line(status));
    store.subscribe(() => this.#follow());
  }

  // ------------------------------------------------------------------------- what a person does

  /** Enter a room. The line may still be opening: then the room is entered when it is open. */
  async join({ room, name }) {
    this.store.dispatch({ type: "local/join", room });
    this.memory.set("call", { room, name });
    this.declined.clear();
    this.signaling.rename(name);
    if (this.signaling.status === "open") await this.#enter();
  }

  /** Leave for good. */
  leave() {
    this.#forget();
    this.store.dispatch({ type: "local/ended" });
    this.signaling.leave();
    this.media.stop();
  }

  /** Put one's present target, kept in the state, on the picture. */
  selectTarget(target) {
    this.store.dispatch({ type: "local/me", target });
    this.memory.set("target", target);
    this.#ask({ type: "target.select", target });
  }

  recalibrate() {
    this.#ask({ type: "media.recalibrate" });
  }

  /** Let one's target make an expression over what one does oneself. */
  react(template) {
    this.#ask({ type: "media.react", template });
  }

  /** A track of this person's changed; tell the sessions and the others. */
  mediaChanged(kind) {
    const track = this.media[kind].track;
    this.sessions.setTrack(kind === "camera" ? "video" : "audio", track);
    const live = this.media.live(kind);
    if (this.store.state.me[kind] === live) return;
    this.store.dispatch({ type: "local/me", [kind]: live });
    this.#tellMedia();
  }

  /** Ask a peer for a direct call. The person has confirmed that their own face will be shown. */
  async requestDirect(peer) {
    try {
      const message = { type: "relay.request", kind: "video", mode: "direct", to: [peer] };
      const reply = await this.signaling.request(message);
      if (reply.request) this.directAsked.add(reply.request);
      this.say("directAsked");
    } catch (error) {
      this.say("serverSays", { message: error.message });
    }
  }

  /** The person's answer to a direct request. */
  answerDirect(request, agreed) {
    if (agreed) this.directAsked.add(request);
    if (agreed) this.#ask({ type: "relay.accept", request, mode: "direct" });
    else this.#quietly({ type: "relay.decline", request });
  }

  /** Show the target again: the direct call ends, the reenacted one goes on or begins anew. */
  leaveDirect() {
    const call = directCall(this.store.state);
    if (!call) return;
    this.#revoke(call.id);
    this.#quietly({ type: "call.leave", call: call.id });
  }

  /** Take back one's own request for a direct call. */
  cancelDirect() {
    for (const [request, { mode }] of Object.entries(this.store.state.outgoing)) {
      if (mode !== "direct") continue;
      this.directAsked.delete(request);
      this.#quietly({ type: "relay.cancel", request });
    }
  }

  /** @returns {Promise<object>} resolves when the server has taken it */
  sendText(text) {
    return this.signaling.request({ type: "text.send", text });
  }

  // ------------------------------------------------------------------------- what the server says

  #received(message) {
    // The consent to a direct call must be known before the state says that the call exists.
    if (message.type === "relay.state" && message.call && this.directAsked.has(message.request)) {
      this.#consent(message.call);
    }
    if (message.type === "welcome" && !message.resumed) this.#forgetConsent();
    this.store.dispatch(message);
    if (message.type === "welcome") this.#welcomed(message);
    if (message.type === "relay.incoming") this.#asked(message);
    if (message.type === "relay.state" && message.state === "declined" && message.by) this.declined.add(message.by);
    if (message.type === "media.signal") this.sessions.take(message);
    if (message.type === "media.stats") this.#paced(message);
    if (message.type === "media.ice") this.#renewed(message);
    if (message.type === "media.lost") this.sessions.move(["publish", "subscribe"], 1000 * (message.plays_on_s ?? 0));
    if (message.type === "error") this.#refused(message);
  }

  /** New credentials for the relays: for the sessions that are opened from now on. */
  #renewed({ ice_servers: iceServers }) {
    this.sessions.configure({ terminal: this.store.state.terminal, iceServers });
  }

  /** The worker tells how many pictures of this person it generates. */
  #paced({ terminal, fps }) {
    if (terminal === this.store.state.terminal) this.sessions.setFps(this.pace.take(fps));
  }

  #welcomed(message) {
    this.sessions.configure({ terminal: message.terminal, iceServers: message.ice_servers });
    if (message.resumed) {
      this.sessions.hurry();
      setTimeout(() => this.store.dispatch({ type: "local/settled" }), SETTLE_MS);
    } else {
      this.sessions.restart();
    }
    const { target } = this.store.state.me;
    if (target && target !== message.target) this.#ask({ type: "target.select", target });
    this.#tellMedia();
    // Whoever turns out to be in the room already is only told its state again: nothing to wait for.
    const { phase, members } = this.store.state;
    if (phase === "room" && members.length === 0) this.#enter();
  }

  async #enter(tries = ENTER_TRIES) {
    const { room } = this.store.state;
    const wanted = room ?? this.memory.get("call")?.room;
    if (!wanted) return;
    this.entering += 1;
    const asked = this.entering;
    try {
      await this.signaling.request({ type: "room.join", room: wanted });
      this.#call();
    } catch (error) {
      if (asked !== this.entering || this.store.state.phase !== "room") return;
      // The answer alone may be lost, with the line: whoever is in the room stays, whatever became of the request.
      if (this.#isInside(wanted)) this.#call();
      else if (error.code === "timed_out" && this.signaling.status !== "open") return; // the next welcome enters
      else if (error.code === "timed_out" && tries > 1) await this.#enter(tries - 1);
      else if (error.code !== "disconnected") this.#backToLobby(error); // else entered again with the next welcome
    }
  }

  /** Whether the server has told that this terminal is in a room. */
  #isInside(wanted) {
    const { room, members, terminal } = this.store.state;
    return room === wanted && members.some((member) => member.terminal === terminal);
  }

  #backToLobby(error) {
    this.#forget();
    this.store.dispatch({ type: "local/lobby" });
    // The server may have taken the request all the same: others must not meet somebody who sees the lobby.
    this.#quietly({ type: "room.leave" });
    this.say(error.code === "room_full" ? "roomFull" : "serverSays", { message: error.message });
  }

  #asked(message) {
    const answer = answerTo(this.store.state, message);
    if (answer === "accept") {
      this.#quietly({ type: "relay.accept", request: message.request, mode: message.mode });
    } else if (answer === "ask") {
      this.ask(message);
    }
  }

  #refused({ code, message, session, re }) {
    if (session) {
      this.sessions.refuse({ session, code });
    } else if (LAST_WORDS.has(code)) {
      if (this.signaling.status === "fatal") this.store.dispatch({ type: "local/error", code, message });
    } else if (code === "shutting_down") {
      this.say("serverStops");
    } else if (re === undefined && code !== "resume_refused") {
      this.say("serverSays", { message });
    }
  }

  #line({ status }) {
    this.store.dispatch({ type: "local/line", status });
  }

  // ------------------------------------------------------------------------- what follows from the state

  #follow() {
    const { state } = this.store;
    if (unconsented(state, this.consented).length > 0) this.#leaveUnconsented();
    const wanted = wantedSessions(state, this.consented);
    const plan = JSON.stringify(wanted);
    if (plan !== this.plan) {
      this.plan = plan;
      this.sessions.reconcile(wanted);
    }
    if (shouldCall(this.store.state) && !this.callTimer) {
      const wait = CALL_AGAIN_MS * (1 + Math.random());
      this.callTimer = setTimeout(() => {
        this.callTimer = null;
        this.#call();
      }, wait);
    }
  }

  /** Ask for a reenacted call with everybody in the room who is in none with this terminal. */
  #call() {
    const { state } = this.store;
    if (!shouldCall(state)) return;
    const to = uncalled(state).filter((terminal) => !this.declined.has(terminal));
    if (to.length === 0) return;
    this.#quietly({ type: "relay.request", kind: "video", mode: "reenacted", to });
  }

  /**
   * Leave direct calls that nobody here agreed to. No media session is opened for them in any case; the
   * answer to one's own request may name the call a moment after the call itself is told.
   */
  #leaveUnconsented() {
    this.leaveTimer ??= setTimeout(() => {
      this.leaveTimer = null;
      for (const call of unconsented(this.store.state, this.consented)) {
        this.#quietly({ type: "call.leave", call });
      }
    }, SETTLE_MS);
  }

  #ask(message) {
    this.signaling.request(message).catch((error) => {
      if (error.code === "target_unknown") this.say("targetUnknown");
      else if (error.code !== "disconnected" && error.code !== "timed_out") {
        this.say("serverSays", { message: error.message });
      }
    });
  }

  /** Send what may have been overtaken by events; then the state that follows says what holds. */
  #quietly(message) {
    this.signaling.request(message).catch(() => {});
  }

  #tellMedia() {
    const { camera, microphone } = this.store.state.me;
    this.signaling.send({ type: "media.set", camera, microphone });
  }

  // ------------------------------------------------------------------------- consent to direct calls

  #consent(call) {
    this.consented.add(call);
    this.memory.set("consented", [...this.consented]);
  }

  #revoke(call) {
    this.consented.delete(call);
    this.memory.set("consented", [...this.consented]);
  }

  #forgetConsent() {
    this.consented.clear();
    this.directAsked.clear();
    this.memory.remove("consented");
  }

  #forget() {
    this.#forgetConsent();
    this.memory.remove("call");
  }
}
