// What the page knows, and how each message or local event changes it: pure functions, no browser.

/** The state of a page that has just been opened. Never changed in place. */
export const INITIAL = Object.freeze({
  phase: "lobby", // lobby | room | ended | error
  line: "idle", // idle | connecting | open | lost | closed | fatal (see signaling.js)
  terminal: null,
  room: null,
  members: [],
  calls: {}, // id -> {id, kind, mode, members, stale}
  incoming: {}, // request id -> relay.incoming
  outgoing: {}, // request id -> {kind, mode}
  statuses: {}, // terminal -> {state, detail} of its generated picture
  figures: {}, // terminal -> media.stats
  sessions: {}, // slot -> {state, code} of a media session, see sessions.js
  rendered: {}, // slot -> true once a frame was seen
  me: { camera: false, microphone: false, target: null },
  note: null, // {key, values} the last thing worth saying about the call
  error: null, // {code, message} that ended it
});

const without = (record, key) => Object.fromEntries(Object.entries(record).filter(([name]) => name !== key));

const REDUCERS = {
  welcome(state, message) {
    const next = { ...state, terminal: message.terminal, incoming: {}, outgoing: {} };
    if (message.resumed) {
      // What still holds follows at once; until then nothing that runs is torn down.
      const calls = Object.fromEntries(
        Object.entries(state.calls).map(([id, call]) => [id, { ...call, stale: true }]),
      );
      return { ...next, calls };
    }
    return { ...next, room: null, members: [], calls: {}, statuses: {}, figures: {}, sessions: {}, rendered: {} };
  },

  "room.state"(state, { room, members }) {
    return { ...state, room, members };
  },

  "room.left"(state) {
    return { ...state, room: null, members: [], calls: {}, incoming: {}, outgoing: {} };
  },

  "relay.incoming"(state, message) {
    return { ...state, incoming: { ...state.incoming, [message.request]: message } };
  },

  "relay.state"(state, { request, kind, mode, state: relay, reason, by }) {
    const mine = request in state.outgoing || (relay === "pending" && !(request in state.incoming));
    if (relay === "pending") {
      return mine ? { ...state, outgoing: { ...state.outgoing, [request]: { kind, mode } } } : state;
    }
    if (relay === "accepted") {
      return by === state.terminal ? { ...state, incoming: without(state.incoming, request) } : state;
    }
    if (relay === "declined") {
      if (by === state.terminal) return { ...state, incoming: without(state.incoming, request) };
      return mine && mode === "direct" ? { ...state, note: note("directDeclined", { name: nameOf(state, by) }) } : state;
    }
    const next = { ...state, incoming: without(state.incoming, request), outgoing: without(state.outgoing, request) };
    if (mine && reason === "timed_out") {
      return { ...next, note: note(mode === "direct" ? "directTimedOut" : "noAnswer") };
    }
    return next;
  },

  "call.state"(state, { call, kind, mode, members }) {
    const before = state.calls[call]?.members ?? [];
    const gone = before.find((one) => !members.some((other) => other.terminal === one.terminal));
    const calls = { ...state.calls, [call]: { id: call, kind, mode, members, stale: false } };
    const said = gone ? note("peerLeft", { name: gone.name }) : before.length < members.length ? null : state.note;
    return prune({ ...state, calls, note: said });
  },

  "call.ended"(state, { call, reason }) {
    const ended = state.calls[call];
    const other = ended?.members.find((member) => member.terminal !== state.terminal);
    const key = { alone: "peerLeft", peer_vanished: "peerVanished", shutting_down: "serverStops" }[reason];
    const said = key && ended?.mode !== "direct" ? note(key, { name: other?.name ?? "" }) : state.note;
    return prune({ ...state, calls: without(state.calls, call), note: said });
  },

  "media.status"(state, { terminal, state: picture, detail }) {
    return { ...state, statuses: { ...state.statuses, [terminal]: { state: picture, detail } } };
  },

  "media.stats"(state, message) {
    return { ...state, figures: { ...state.figures, [message.terminal]: message } };
  },

  // ------------------------------------------------------------------ what happens in the page itself

  "local/line"(state, { status }) {
    return { ...state, line: status };
  },

  "local/join"(state, { room }) {
    return { ...state, phase: "room", room, note: null, error: null };
  },

  /** Calls that the server did not name again after a resume are gone. */
  "local/settled"(state) {
    return prune({ ...state, calls: Object.fromEntries(Object.entries(state.calls).filter(([, call]) => !call.stale)) });
  },

  "local/ended"(state) {
    return { ...INITIAL, phase: "ended", me: state.me, line: state.line };
  },

  "local/lobby"(state) {
    return { ...INITIAL, phase: "lobby", me: state.me, line: state.line, terminal: state.terminal };
  },

  "local/error"(state, { code, message }) {
    return { ...INITIAL, phase: "error", me: state.me, error: { code, message } };
  },

  "local/me"(state, { type: _, ...changes }) {
    return { ...state, me: { ...state.me, ...changes } };
  },

  "local/session"(state, { slot, state: session, code = null }) {
    if (session === "closed") {
      return { ...state, sessions: without(state.sessions, slot), rendered: without(state.rendered, slot) };
    }
    return { ...state, sessions: { ...state.sessions, [slot]: { state: session, code } } };
  },

  "local/rendered"(state, { slot }) {
    return state.rendered[slot] ? state : { ...state, rendered: { ...state.rendered, [slot]: true } };
  },

  "local/note"(state, { key, values }) {
    return { ...state, note: key ? note(key, values) : null };
  },
};

/** The state after an event; events that change nothing give the same object back. */
export function reduce(state, event) {
  const reducer = Object.hasOwn(REDUCERS, event.type) ? REDUCERS[event.type] : null;
  return reducer ? reducer(state, event) : state;
}

function note(key, values = {}) {
  return { key, values };
}

/** Forget figures and states of terminals that are in no call any more. */
function prune(state) {
  const present = new Set([state.terminal, ...remotes(state).map((peer) => peer.terminal)]);
  const keep = (record) => Object.fromEntries(Object.entries(record).filter(([terminal]) => present.has(terminal)));
  return { ...state, statuses: keep(state.statuses), figures: keep(state.figures) };
}

// ---------------------------------------------------------------------------------- what follows from it

/** A terminal's display name, as far as the room or a call tells. */
export function nameOf(state, terminal) {
  const members = [...state.members, ...Object.values(state.calls).flatMap((call) => call.members)];
  return members.find((member) => member.terminal === terminal)?.name ?? "";
}

/** The present direct call, if the terminal is in one. */
export function directCall(state) {
  return Object.values(state.calls).find((call) => call.kind === "video" && call.mode === "direct") ?? null;
}

/**
 * The others whose picture is (to be) seen, in a stable order: members of the video calls.
 *
 * Each has the `mode` and media session's `slot` of the picture to show, and `reenacted` and `direct`, the
 * ids of the calls shared with it (or null). While a direct session is being connected, the generated
 * picture stays.
 */
export function remotes(state) {
  const peers = new Map();
  for (const call of Object.values(state.calls)) {
    if (call.kind !== "video") continue;
    for (const member of call.members) {
      if (member.terminal === state.terminal) continue;
      const known = peers.get(member.terminal) ?? { reenacted: null, direct: null };
      peers.set(member.terminal, { ...member, ...known, [call.mode]: call.id });
    }
  }
  const shown = (peer) => {
    const slot = slotOf("direct", peer.terminal);
    const direct = peer.direct && (!peer.reenacted || state.sessions[slot]?.state === "connected");
    return direct
      ? { ...peer, mode: "direct", slot }
      : { ...peer, mode: "reenacted", slot: slotOf("subscribe", peer.terminal) };
  };
  return [...peers.values()].map(shown).sort((a, b) => (a.terminal < b.terminal ? -1 : 1));
}

/** Codes of media connections that could not be made in time: here, there, or since the relay refused. */
export const UNREACHABLE = ["relay_refused", "timeout", "media_failed"];

function unreachable(codes) {
  if (codes.includes("relay_refused")) return note("stateRelayRefused");
  return codes.some((code) => UNREACHABLE.includes(code)) ? note("stateNoRoute") : null;
}

/** The name of a media session's place: one publish, one subscribe or direct for each peer. */
export function slotOf(channel, peer = null) {
  return peer ? `${channel}:${peer}` : channel;
}

/** Members of the room who are there now and are not this terminal. */
export function othersOnline(state) {
  return state.members.filter((member) => member.terminal !== state.terminal && member.presence === "online");
}

/** Whether the picture of a peer is flowing. */
export function isLive(state, peer) {
  return state.sessions[peer.slot]?.state === "connected" && Boolean(state.rendered[peer.slot]);
}

/** The page's state in one word, as `data-state` on the body shows it. */
export function pageState(state) {
  if (state.phase !== "room") return state.phase;
  if (state.line === "lost") return "reconnecting";
  const peers = remotes(state);
  if (peers.length === 0) return state.line === "open" || state.room === null ? "ringing" : "connecting";
  const present = peers.filter((peer) => peer.presence === "online");
  if (present.length === 0) return "reconnecting";
  if (present.some((peer) => isLive(state, peer))) return "live";
  return present.some((peer) => state.rendered[peer.slot]) ? "reconnecting" : "connecting";
}

/** The same in a sentence: a key of strings.js and its values. */
export function sentence(state) {
  const peers = remotes(state);
  const page = pageState(state);
  const name = peers.map((peer) => peer.name).join(", ");
  if (page === "reconnecting") {
    if (state.line === "lost") return note("stateLineLost");
    return peers.every((peer) => peer.presence === "away") ? note("statePeerAway", { name }) : note("stateReconnecting");
  }
  if (page === "ringing") {
    const others = othersOnline(state);
    if (others.length === 0) return state.note ?? note("stateAlone");
    return note("stateRinging", { name: others.map((member) => member.name).join(", ") });
  }
  if (page === "connecting") {
    const codes = Object.values(state.sessions).map((session) => session.code);
    if (codes.includes("worker_busy")) return note("stateBusy");
    return unreachable(codes) ?? note("stateConnecting", { name });
  }
  if (page === "live") return note("stateLive", { name });
  return note("");
}

/** Why a peer's tile shows no moving face just now: a key of strings.js and its values, or null. */
export function tileSentence(state, peer) {
  if (peer.presence === "away") return note("statePeerAway", { name: peer.name });
  const session = state.sessions[peer.slot];
  if (!isLive(state, peer)) {
    if (session?.code === "worker_busy") return note("stateBusy");
    if (unreachable([session?.code])) return unreachable([session.code]);
    return note(state.rendered[peer.slot] ? "stateReconnecting" : "stateConnecting", { name: peer.name });
  }
  if (!peer.camera) return note("tileCameraOff", { name: peer.name });
  if (peer.mode === "direct") return null;
  return pictureSentence(state.statuses[peer.terminal]?.state, peer.name);
}

const PICTURE = {
  calibrating: null,
  no_video: "NoVideo",
  camera_off: "CameraOff",
  no_target: "NoTarget",
  no_face: "NoFace",
  late: "Late",
  failed: "Failed",
  restarting: "Restarting",
};

function pictureSentence(picture, name) {
  return PICTURE[picture] ? note(`tile${PICTURE[picture]}`, { name }) : null;
}

/** Why one's own picture does not move as it should: a key of strings.js and its values, or null. */
export function selfSentence(state) {
  const session = state.sessions.publish;
  if (session?.code === "worker_busy") return note("stateBusy");
  if (unreachable([session?.code])) return unreachable([session.code]);
  if (session?.state === "failed") return note("selfFailed");
  if (!session || session.state !== "connected") return note("selfConnecting");
  const picture = state.statuses[state.terminal]?.state;
  if (picture === "calibrating") return note("selfCalibrating");
  if (!state.me.target) return note("selfNoTarget");
  if (!state.me.camera) return note("selfCameraOff");
  return PICTURE[picture] ? note(`self${PICTURE[picture]}`) : null;
}

/** Whether a reaction would be seen: one's own picture is being generated, and not everybody sees one's real face. */
export function canReact(state) {
  const said = selfSentence(state);
  if (state.phase !== "room" || (said && !["selfLate", "selfCalibrating"].includes(said.key))) return false;
  const peers = remotes(state);
  return peers.length === 0 || peers.some((peer) => peer.mode === "reenacted");
}
