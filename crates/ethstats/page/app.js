// The page: listens to the dashboard, and draws what changed.

import { Network, clock, span } from "./network.js";
import * as views from "./views.js";

/** The dashboard says something every 2 s; after this long without, it is gone. */
const SILENCE_MAX = 6500;
const PING_PERIOD = 5000;
/** A block later than so many mean times, and at least so many seconds, is worth a word. */
const LATE_TIMES = 10;
const LATE_SECONDS = 120;

const network = new Network();
let socket = null;
let heard = 0;
let since = Date.now();
let latency = null;
let pinged = 0;
let wait = 500;
let drawing = false;
let drawn = 0;
let cost = 0;
let everHeard = false;

const table = new views.Table(network, choose);

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(new URL("live", `${scheme}//${location.host}${location.pathname.replace(/[^/]*$/, "")}`));
  socket.onmessage = (message) => {
    heard = Date.now();
    everHeard = true;
    wait = 500;
    const update = JSON.parse(message.data);
    if (update.pong) {
      latency = Math.round(performance.now() - pinged);
      return;
    }
    network.apply(update, heard);
    draw();
    state();
  };
  socket.onclose = () => {
    if (heard) since = heard;
    heard = 0;
    state();
    setTimeout(connect, wait);
    wait = Math.min(wait * 2, 8000);
  };
}

function ping() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  if (Date.now() - heard > SILENCE_MAX) {
    socket.close();
    return;
  }
  pinged = performance.now();
  socket.send("ping");
}

/**
 * Draws what changed, not more often than a third of the time: a slow machine draws less often. A
 * page that nobody sees draws when it is seen.
 */
function draw() {
  if (drawing) return;
  drawing = true;
  const rest = Math.min(500, 2 * cost - (performance.now() - drawn));
  setTimeout(() => requestAnimationFrame(() => {
    drawing = false;
    const began = performance.now();
    const nodes = network.changedNodes;
    network.changedNodes = new Set();
    const chain = network.chainChanged;
    network.chainChanged = false;
    if (chain) {
      views.plots(network, choose);
      views.miners(network);
      views.bomb(network);
      views.reorgs(network);
      for (const id of network.nodes.keys()) nodes.add(id);
    }
    if (nodes.size || chain) {
      table.update(nodes);
      views.propagation(network);
      views.tree(network, choose);
    }
    views.cards(network, latency);
    views.refused(network);
    const head = network.headBlock();
    document.title = head ? `#${head.number} · network dashboard` : "Network dashboard";
    document.getElementById("network").textContent = network.network ? `id ${network.network}` : "";
    drawn = performance.now();
    cost = drawn - began;
  }), Math.max(0, rest));
}

/** Says whether what is shown is what is. */
function state() {
  const live = heard && Date.now() - heard <= SILENCE_MAX;
  const place = document.getElementById("connection");
  place.className = `state ${live ? "live" : "lost"}`;
  const words = live ? "live" : everHeard ? "not connected" : "connecting";
  if (place.textContent !== words) place.textContent = words;
  banners(live);
}

function banners(live) {
  const said = [];
  if (!live) {
    if (everHeard) said.push(["bad", "lost", `No connection to the dashboard since ${clock(since)}. What is shown is old. Trying again.`]);
    else if (Date.now() - since > 3000) said.push(["bad", "lost", "The dashboard does not answer. Trying again."]);
  } else said.push(...trouble());
  const host = document.getElementById("banners");
  const shown = new Map([...host.children].map((child) => [child.dataset.key, child]));
  for (const [level, key, text] of said) {
    const banner = shown.get(key) ?? views.make("p", { "data-key": key });
    shown.delete(key);
    banner.className = `banner ${level}`;
    if (banner.textContent !== text) banner.textContent = text;
    if (!banner.isConnected) host.append(banner);
  }
  for (const gone of shown.values()) gone.remove();
}

/** What is wrong with the network, in words. */
function trouble() {
  const said = [];
  const here = network.connected();
  if (network.nodes.size === 0) {
    said.push(["", "none", "No node reports to this dashboard yet."]);
    return said;
  }
  if (here.length === 0) said.push(["bad", "none", "No node reports any more. What is shown is what they said last."]);
  const at = network.lastBlockAt();
  const head = network.headBlock();
  const age = at === null ? null : Math.round((network.now() - at) / 1000);
  if (age !== null && age > Math.max(LATE_SECONDS, LATE_TIMES * (network.meanTime() ?? 0))) {
    // Said to the minute, so that a screen reader is not told every second.
    const told = age < 7200 ? `${Math.floor(age / 60)} min` : span(age);
    const miners = here.filter((node) => node.mining).length;
    said.push(["bad", "late", `No new block for ${told}. The newest is #${head.number}; ${miners === 0 ? "no node mines" : `${miners} of ${here.length} nodes mine`}.`]);
  }
  if (head?.number === 0) said.push(["", "genesis", "No block has been mined yet."]);
  const by = new Map();
  for (const node of here) {
    const standing = network.standing(node);
    by.set(standing, [...(by.get(standing) ?? []), node.name]);
  }
  const names = (list) => `${list.slice(0, 5).join(", ")}${list.length > 5 ? ` and ${list.length - 5} more` : ""}`;
  if (by.has("split")) said.push(["bad", "split", `Not all nodes follow one chain: ${names(by.get("split"))}.`]);
  if (by.has("elsewhere")) said.push(["", "elsewhere", `On another network: ${names(by.get("elsewhere"))}.`]);
  const twice = here.filter((node) => node.sessions > 1).map((node) => node.name);
  if (twice.length) said.push(["", "twice", `More than one node reports as ${names(twice)}: give every node a name of its own.`]);
  return said;
}

async function choose(hash, unseen) {
  if (!hash) return;
  const dialog = document.getElementById("details");
  const body = document.getElementById("details-body");
  document.getElementById("details-title").textContent = "Block";
  body.replaceChildren(views.make("p", { class: "hint", text: unseen ? "No node had this block as its newest; an uncle's header is all that is known." : "asking…" }));
  if (!dialog.open) dialog.showModal();
  if (unseen) return;
  try {
    const answer = await fetch(`api/v1/blocks/${encodeURIComponent(hash)}`);
    if (!answer.ok) throw new Error("the dashboard has forgotten this block");
    views.details(network, await answer.json());
  } catch (error) {
    body.replaceChildren(views.make("p", { class: "hint", text: `No answer: ${error.message}` }));
  }
}

function theme() {
  const dark = () => document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const chosen = views.stored("theme", null);
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  document.getElementById("theme").addEventListener("click", () => {
    const next = dark() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    views.keep("theme", next);
  });
}

theme();
document.getElementById("details").addEventListener("click", (event) => {
  if (event.target === event.currentTarget) event.currentTarget.close();
});
addEventListener("resize", () => { document.getElementById("tree").dataset.key = ""; network.chainChanged = true; draw(); });
setInterval(() => {
  state();
  if (document.hidden) return;
  views.cards(network, latency);
  table.tick();
}, 1000);
setInterval(ping, PING_PERIOD);
connect();
state();
setTimeout(ping, 600);
