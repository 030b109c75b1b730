// Starts the page: puts the parts together, reads the address, and goes on with an interrupted call.

import { AnimateView } from "./animate.js";
import { CallView } from "./call.js";
import { Chat } from "./chat.js";
import { Controller } from "./controller.js";
import { Controls } from "./controls.js";
import { DirectDialogs } from "./direct.js";
import { $, copyLink, onAction, openDialog, setText, toast, wireDialogs } from "./dom.js";
import { Lobby } from "./lobby.js";
import { Reactions } from "./reactions.js";
import { Templates } from "./templates.js";
import { Media } from "./media.js";
import { newRoomName, roomFromInput, roomLink } from "./roomname.js";
import { MediaSessions } from "./sessions.js";
import { Signaling } from "./signaling.js";
import { pageState } from "./state.js";
import { Stats } from "./stats.js";
import { local, tab } from "./storage.js";
import { Store } from "./store.js";
import { Streams } from "./streams.js";
import { fillWords, t } from "./strings.js";
import { TargetChooser } from "./chooser.js";
import { claimTab, readAddress } from "./address.js";
import { acceptInvitation, TOKEN_ERRORS } from "./invitation.js";

fillWords(document);
wireDialogs();

const invitation = acceptInvitation(tab); // before anything else can read the address
const address = readAddress(location.href);
const store = new Store();
const streams = new Streams();
const signaling = new Signaling({
  url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`,
  memory: tab,
});
const sessions = new MediaSessions({
  send: (message) => signaling.send(message),
  onTrack: (arrival) => streams.add(arrival),
  onState: ({ slot, state, code }) => {
    if (state === "connected") streams.settle(slot);
    if (state === "closed") streams.remove(slot);
    store.dispatch({ type: "local/session", slot, state, code });
  },
});
const media = new Media({
  onChange: (kind) => {
    controller.mediaChanged(kind);
    lobby.deviceChanged(kind);
    controls.update(store.state, media);
    call.update(store.state);
  },
});
const direct = new DirectDialogs({
  onRequest: (peer) => controller.requestDirect(peer),
  onAnswer: (request, agreed) => controller.answerDirect(request, agreed),
});
const controller = new Controller({
  store,
  signaling,
  sessions,
  media,
  memory: tab,
  ask: (message) => direct.asked(message),
  say: toast,
});
const controls = new Controls();
const chat = new Chat({
  send: (text) => controller.sendText(text),
  onUnread: (count) => {
    controls.unread(count);
    showTitle();
  },
  onOpen: (open) => {
    controls.expanded("chat", open);
    if (open) stats.toggle(false);
    else controls.focus("chat");
  },
});
const stats = new Stats({
  store,
  sessions,
  onOpen: (open) => {
    controls.expanded("stats", open);
    if (open) chat.toggle(false);
  },
});
const lobby = new Lobby({ media, streams, onJoin: join });
const call = new CallView({
  streams,
  media,
  controls,
  chat,
  onRendered: (slot) => store.dispatch({ type: "local/rendered", slot }),
});
const templates = new Templates();
const reactions = new Reactions({
  store,
  templates,
  controls,
  onReact: (name) => controller.react(name),
  say: toast,
});
const chooser = new TargetChooser({ store, onSelect: (id) => controller.selectTarget(id) });
const animateView = new AnimateView({ chooser, templates });

// ------------------------------------------------------------------------------------ what is shown

function showTitle() {
  const unread = chat.unread > 0 ? `(${chat.unread}) ` : "";
  const room = store.state.phase === "room" ? `${store.state.room ?? ""} · ` : "";
  const view = document.body.dataset.view === "animate" ? `${t("animateTitle")} · ` : "";
  document.title = `${unread}${room}${view}Understudy`;
}

let shownPhase = null;

store.subscribe((state) => {
  document.body.dataset.state = pageState(state);
  if (state.phase !== shownPhase) showPhase(state);
  lobby.update(state);
  call.update(state);
  direct.update(state);
  chooser.update(state);
  reactions.update(state);
  showTitle();
});

function showPhase(state) {
  const moved = shownPhase !== null;
  shownPhase = state.phase;
  const over = state.phase === "ended" || state.phase === "error";
  showView();
  $("#call").hidden = state.phase !== "room";
  $("#ended").hidden = !over;
  if (state.phase !== "room") for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
  if (over) {
    const { error } = state;
    const invited = !TOKEN_ERRORS.has(error?.code);
    setText($("#ended-title"), t(error ? (invited ? "errorTitle" : "errorTitleToken") : "endedTitle"));
    $("#ended .buttons").hidden = !invited; // trying again without an invitation leads nowhere
    setText($("#ended-text"), error ? t(`error_${error.code}`) : t("endedText"));
    if (error) media.stop();
    if (document.fullscreenElement) document.exitFullscreen();
  }
  if (moved) $({ room: "#call-title", lobby: "#name" }[state.phase] ?? "#ended-title").focus();
}

/** Outside of calls the address says which view is shown: `#animate`, or the lobby. */
function showView() {
  const isOutside = store.state.phase === "lobby";
  const animates = isOutside && location.hash === "#animate";
  const moved = isOutside && (document.body.dataset.view ?? "lobby") !== (animates ? "animate" : "lobby");
  document.body.dataset.view = animates ? "animate" : "lobby";
  $("#lobby").hidden = !isOutside || animates;
  $("#animate").hidden = !animates;
  animateView.toggle(animates);
  return moved;
}

// The camera is no business of that view: it is off there, and back as it was in the lobby.
let shut = null;

addEventListener("hashchange", () => {
  if (!showView()) return;
  const animates = document.body.dataset.view === "animate";
  scrollTo(0, 0);
  showTitle();
  $(animates ? "#animate-title" : "#lobby-title").focus();
  if (animates && connected) {
    shut = ["camera", "microphone"].filter((kind) => media[kind].on);
    for (const kind of shut) media.set(kind, false);
  } else if (!animates) {
    for (const kind of shut ?? []) media.set(kind, true);
    shut = null;
    connect();
  }
});

// ------------------------------------------------------------------------------------ what people do

let lastCall = null;

function join({ room, name }) {
  local.set("name", name);
  lastCall = { room, name };
  // The address becomes the link to the room: to copy, and to come back to. A target never stands in it.
  history.replaceState(null, "", roomLink(room));
  controller.join({ room, name });
}

signaling.on("text", (message) => {
  if (message.sender !== store.state.terminal) chat.received(message);
});

async function share() {
  const url = roomLink(store.state.room ?? lobby.room());
  if (tab.get("token")) return copyLink(url, "linkCopiedUninvited");
  const isTouch = matchMedia("(pointer: coarse)").matches;
  if (isTouch && navigator.share) await navigator.share({ title: t("shareTitle"), url }).catch(() => {});
  else await copyLink(url);
  return undefined;
}

/** Switch a device, and say what came of it: it may be refused, or gone, when the browser has answered. */
async function toggle(kind, on, off) {
  await media.set(kind, !media.live(kind));
  const { on: wanted, reason } = media[kind];
  toast(media.live(kind) ? on : wanted && reason ? `${kind}_${reason}` : off);
}

const actions = {
  mute: () => toggle("microphone", "unmuted", "muted"),
  camera: () => toggle("camera", "cameraIsOn", "cameraIsOff"),
  target: () => chooser.open(),
  recalibrate: () => {
    controller.recalibrate();
    toast("recalibrated");
  },
  chat: () => chat.toggle(),
  stats: () => stats.toggle(),
  fullscreen: () => call.toggleFullscreen(),
  help: () => openDialog($("#help-dialog")),
};
for (const [action, handler] of Object.entries(actions)) onAction(action, handler);
onAction("chat-close", () => chat.toggle(false));
onAction("stats-close", () => {
  stats.toggle(false);
  controls.focus("stats");
});
onAction("invite", share);
onAction("share", share);
onAction("templates-retry", () => templates.load());
onAction("hear", () => call.hear());
onAction("leave", () => controller.leave());
onAction("direct", () => {
  const { outgoing } = store.state;
  if (direct.active) controller.leaveDirect();
  else if (Object.values(outgoing).some(({ mode }) => mode === "direct")) controller.cancelDirect();
  else direct.confirm(store.state);
});
onAction("leave-direct", () => controller.leaveDirect());
// A fresh page is the surest fresh start.
onAction("lobby", () => location.assign(lastCall ? roomLink(lastCall.room) : "/"));
onAction("rejoin", () => {
  if (lastCall) tab.set("rejoin", lastCall);
  location.assign(lastCall ? roomLink(lastCall.room) : "/");
});

document.addEventListener("keydown", (event) => {
  const dialogOpen = Boolean($("dialog[open]"));
  if (event.key === "Escape" && !dialogOpen) {
    if (reactions.open) return; // the browser closes a popover by itself
    if (chat.open) chat.toggle(false);
    else if (stats.open) stats.toggle(false);
    return;
  }
  if (store.state.phase !== "room" && event.key !== "?") return;
  const action = controls.actionOf(event, dialogOpen);
  const number = /^reaction-(\d)$/.exec(action)?.[1];
  if (number) {
    event.preventDefault();
    reactions.playNumber(Number(number));
    return;
  }
  if (!action || !actions[action]) return;
  event.preventDefault();
  actions[action]();
});

addEventListener("online", () => signaling.reconnectNow());
addEventListener("pageshow", (event) => {
  if (event.persisted) signaling.reconnectNow();
});

// ------------------------------------------------------------------------------------ the start

let connected = false;

/** Ask for the devices and open the line, once: not for somebody who came to bring a photo to life. */
function connect() {
  if (connected || !lobby.canCall) return;
  connected = true;
  media.start();
  signaling.connect(lobby.name() || t("guest"));
}

async function start() {
  showView();
  const devices = local.get("devices", {});
  for (const kind of ["camera", "microphone"]) media[kind].deviceId = devices[kind] ?? null;
  const kept = await claimTab(tab);
  const rejoin = tab.get("rejoin");
  tab.remove("rejoin");
  // A reload goes on with its call; another room in the address is another call.
  const going = kept && (!address.room || address.room === kept.room) ? kept : null;
  if (!going) for (const key of ["resume", "call", "consented"]) tab.remove(key);
  const name = invitation.name ?? going?.name ?? rejoin?.name ?? address.name ?? local.get("name", "");
  const room = going?.room ?? rejoin?.room ?? (roomFromInput(address.room ?? invitation.room ?? "") || newRoomName());
  lobby.fill({ room, name });
  // Whoever comes back to a call comes as they were; one's face stands in no link, so the tab alone knows it.
  const target = (going || rejoin ? tab.get("target") : address.target) ?? local.get("target");
  if (target) {
    tab.set("target", target); // a reload goes on with it
    store.dispatch({ type: "local/me", target });
  }
  if (lobby.canCall && (going || rejoin || address.join)) join({ room, name: name || t("guest") });
  if (document.body.dataset.view !== "animate") connect();
  await Promise.all([chooser.load(), templates.load()]);
}

// For tests and curious people; read-only.
Object.defineProperty(window, "understudy", {
  value: Object.freeze({
    get state() {
      return pageState(store.state);
    },
    get terminal() {
      return store.state.terminal;
    },
    get room() {
      return store.state.room;
    },
    get details() {
      return structuredClone(store.state);
    },
  }),
});

start();
