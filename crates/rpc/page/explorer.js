// The page: shows what its address names, and asks again when there is a new block.

import { ask, batch, count } from "./node.js";
import { make, section } from "./format.js";
import * as views from "./views.js";

/** How often a new block is asked for; a page that nobody sees does not ask. */
const PERIOD = 3000;

const view = document.getElementById("view");
let shown = null;
let newest = null;
let turn = 0;
let lost = null;

/** What an address of the page asks for, or null. */
function route(hash) {
  const [, kind, name] = hash.match(/^#\/(block|tx|address)\/([0-9a-zA-Z]+)$/) ?? [];
  if (kind === "block" && /^(\d{1,15}|0x[0-9a-fA-F]{64})$/.test(name)) return () => views.block(name);
  if (kind === "tx" && /^0x[0-9a-fA-F]{64}$/.test(name)) return () => views.transaction(name);
  if (kind === "address" && /^0x[0-9a-fA-F]{40}$/.test(name)) return () => views.address(name);
  return ["", "#", "#/"].includes(hash) ? views.home : null;
}

async function show(isNew) {
  const mine = ++turn;
  const asks = route(location.hash) ?? (async () => views.missing("page", location.hash, "Look for a block number, a hash or an address."));
  view.setAttribute("aria-busy", "true");
  try {
    const { title, shown: content } = await asks();
    if (mine !== turn) return;
    view.replaceChildren(...content.filter(Boolean));
    document.title = `${title} · explorer`;
    shown = location.hash;
    heard();
    if (isNew) {
      scrollTo(0, 0);
      view.focus({ preventScroll: true });
    }
  } catch (error) {
    if (mine !== turn) return;
    if (isNew || shown !== location.hash) view.replaceChildren(section("No answer", message(error)));
    fail(error);
  }
  view.setAttribute("aria-busy", "false");
}

function message(error) {
  return make("p", { class: "bad" }, error.message);
}

function heard() {
  lost = null;
  document.getElementById("connection").className = "state live";
  say(document.getElementById("connection"), newest == null ? "live" : `block ${newest}`);
  document.getElementById("banners").replaceChildren();
}

function fail(error) {
  lost ??= new Date();
  document.getElementById("connection").className = "state lost";
  say(document.getElementById("connection"), "not connected");
  const words = `The node does not answer since ${lost.toLocaleTimeString()} (${error.message}). What is shown may be old. Trying again.`;
  document.getElementById("banners").replaceChildren(make("p", { class: "banner bad" }, words));
}

function say(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

/** Looks for a new block. Only the first page changes by itself: nobody reads what moves. */
async function look() {
  if (!document.hidden) {
    try {
      const [number, syncing] = await batch([["eth_blockNumber"], ["eth_syncing"]]);
      const changed = newest !== count(number);
      newest = count(number);
      heard();
      if (syncing) {
        const words = `This node is catching up: block ${newest} of ${count(syncing.highestBlock)}. What it shows is old.`;
        document.getElementById("banners").replaceChildren(make("p", { class: "banner" }, words));
      }
      if (changed && shown !== null && route(location.hash) === views.home) await show(false);
      else if (shown === null) await show(false);
    } catch (error) {
      fail(error);
    }
  }
  setTimeout(look, PERIOD);
}

async function find(term) {
  if (/^[\d\s.,]+$/.test(term)) return `#/block/${term.replace(/[^\d]/g, "")}`;
  if (/^0x[0-9a-fA-F]{40}$/.test(term)) return `#/address/${term.toLowerCase()}`;
  if (/^0x[0-9a-fA-F]{64}$/.test(term)) return (await ask("eth_getBlockByHash", term, false)) ? `#/block/${term}` : `#/tx/${term}`;
  return null;
}

document.getElementById("find").addEventListener("submit", async (event) => {
  event.preventDefault();
  const place = document.getElementById("term");
  place.setCustomValidity("");
  try {
    const found = await find(place.value.trim());
    if (found) location.hash = found;
    else place.setCustomValidity("Not a block number, a hash (0x and 64 digits) or an address (0x and 40 digits).");
  } catch (error) {
    place.setCustomValidity(error.message);
  }
  place.reportValidity();
});
document.getElementById("term").addEventListener("input", (event) => event.target.setCustomValidity(""));

const themes = document.documentElement.dataset;
try {
  themes.theme = localStorage.getItem("theme") ?? "";
} catch {
  // A browser that keeps nothing shows what its system prefers.
}
document.getElementById("theme").addEventListener("click", () => {
  const dark = themes.theme ? themes.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  themes.theme = dark ? "light" : "dark";
  try {
    localStorage.setItem("theme", themes.theme);
  } catch {
    // As above.
  }
});

addEventListener("hashchange", () => show(true));
(async () => {
  try {
    const [chain, network] = await batch([["eth_chainId"], ["net_version"]]);
    const id = count(chain);
    document.getElementById("network").textContent = id == null || String(id) === network ? `chain ${network}` : `chain ${id}, network ${network}`;
  } catch {
    // The next question says what is wrong.
  }
  await show(false);
  look();
})();
