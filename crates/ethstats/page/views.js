// The parts of the page. Names of nodes are strangers' texts: they go in as text, never as markup.

import { clock, milliseconds, price, short, shortHash, span, whole } from "./network.js";
import { plot, spark, svg } from "./plots.js";

/** Heights in the tree. */
const TREE_HEIGHTS = 40;
/** Blocks in the plots: the book plots a hundred. */
const PLOT_BLOCKS = 100;
const MINER_BLOCKS = 100;
const UNCLE_BLOCKS = 5;

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else if (key === "text") element.textContent = value;
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function card(name, value, more = "", level = "") {
  const [first, second] = document.querySelectorAll(`#card-${name} dd`);
  setText(first, value);
  setText(second, more);
  if (first.className !== level) first.className = level;
}

/** The row of numbers. */
export function cards(network, latency) {
  const head = network.headBlock();
  const mean = network.meanTime();
  const steps = network.steps(PLOT_BLOCKS);
  card("best", head ? `#${whole(head.number)}` : "–", head ? `${shortHash(head.hash)}, by ${network.minerNodes.get(head.miner) ?? minerName(head.miner)}` : "no block yet");
  const at = network.lastBlockAt();
  const ago = at === null ? null : (network.now() - at) / 1000;
  const level = ago === null ? "" : ago <= 20 ? "good" : ago <= 40 ? "fair" : "bad";
  card("last", ago === null ? "–" : `${span(ago)} ago`, at === null ? "" : `at ${clock(at)}`, level);
  card("mean", mean === null ? "–" : `${mean.toFixed(1)} s`, steps.length ? `newest ${whole(Math.min(64, steps.length))} blocks` : "");
  const told = network.connected().reduce((sum, node) => sum + (node.hashrate ?? 0), 0);
  card("hashrate", short(network.hashrate(), "H/s"), told ? `nodes say ${short(told, "H/s")}` : "difficulty / block time");
  card("difficulty", head ? short(Number(head.difficulty)) : "–", head ? `total ${short(Number(head.td))}` : "");
  const [here, all] = [network.connected(), network.nodes.size];
  const mining = here.filter((node) => node.mining).length;
  const share = all ? here.length / all : 0;
  card("active", `${here.length} / ${all}`, `${mining} mining`, all === 0 ? "" : share >= 0.9 ? "good" : share >= 0.5 ? "fair" : "bad");
  const newest = network.best.slice(-50);
  const uncles = newest.reduce((sum, block) => sum + block.uncles.length, 0);
  card("uncles", head ? `${head.uncles.length} / ${uncles}` : "–", "this block / newest 50");
  const pending = here.map((node) => node.pending).filter((count) => count !== null);
  card("pending", pending.length ? whole(Math.max(...pending)) : "–", "transactions");
  card("gas", head ? short(head.gasLimit) : "–", head ? `${((100 * head.gasUsed) / (head.gasLimit || 1)).toFixed(1)} % used` : "");
  const prices = here.map((node) => node.gasPrice).filter(Boolean).map(Number).sort((a, b) => a - b);
  card("price", prices.length ? price(prices[Math.floor(prices.length / 2)]) : "–", "median of nodes");
  card("latency", milliseconds(latency), "this page to dashboard");
  const uptimes = here.map((node) => node.uptime);
  card("uptime", uptimes.length ? `${Math.round(uptimes.reduce((a, b) => a + b, 0) / uptimes.length)} %` : "–", "mean of nodes");
}

/** The plots of blocks. */
export function plots(network, choose) {
  const figure = (name) => document.getElementById(`plot-${name}`);
  const steps = network.steps(PLOT_BLOCKS);
  const mean = steps.length ? steps.reduce((sum, one) => sum + one.seconds, 0) / steps.length : null;
  const label = (block) => `#${block.number}`;
  const seconds = (s) => `${Number(s.toFixed(1))} s`;
  plot(figure("time"), steps.map(({ block, seconds: value }) => ({ value, label: label(block), key: block.hash, rest: mean === null ? "" : `mean ${mean.toFixed(1)} s of ${steps.length}` })), {
    kind: "line", format: seconds, mean, choose,
    summary: mean === null ? "Time between blocks" : `Time between the newest ${steps.length} blocks: ${mean.toFixed(1)} seconds on average, from ${Math.min(...steps.map((s) => s.seconds))} to ${Math.max(...steps.map((s) => s.seconds))}`,
  });
  const blocks = network.best.slice(-PLOT_BLOCKS);
  const last = blocks.at(-1);
  const of = (value) => blocks.map((block) => ({ value: value(block), label: label(block), key: block.hash }));
  plot(figure("difficulty"), of((block) => Number(block.difficulty)), {
    kind: "line", from: "auto", format: whole, unit: (v, more) => short(v, "", more), choose, summary: `Difficulty of the newest blocks: now ${last ? whole(Number(last.difficulty)) : "unknown"}`,
  });
  const newest = blocks.slice(-50);
  const bars = (value) => newest.map((block) => ({ value: value(block), label: label(block), key: block.hash }));
  plot(figure("transactions"), bars((block) => block.transactions), { format: whole, choose, summary: "Transactions of the newest 50 blocks" });
  plot(figure("gas"), bars((block) => block.gasUsed), { format: whole, unit: (v, more) => short(v, "", more), choose, summary: "Gas used by the newest 50 blocks" });
  plot(figure("limit"), of((block) => block.gasLimit), { kind: "line", from: "auto", format: whole, unit: (v, more) => short(v, "", more), choose, summary: "Gas limit of the newest blocks" });
  const groups = new Map();
  for (const block of network.best) {
    const group = Math.floor(block.number / UNCLE_BLOCKS);
    const sum = groups.get(group) ?? { value: 0, label: `#${group * UNCLE_BLOCKS}–${group * UNCLE_BLOCKS + UNCLE_BLOCKS - 1}` };
    sum.value += block.uncles.length;
    groups.set(group, sum);
  }
  const uncles = [...groups.values()].slice(-40);
  const total = uncles.reduce((sum, one) => sum + one.value, 0);
  if (uncles.length) uncles.at(-1).rest = `${total} in ${uncles.length * UNCLE_BLOCKS} blocks`;
  plot(figure("uncles"), uncles, { format: whole, soft: true, summary: `Uncles: ${total} in the newest ${uncles.length * UNCLE_BLOCKS} blocks` });
}

/** How long blocks take to all nodes. */
export function propagation(network) {
  const bins = 40;
  const delays = network.delays();
  const counts = new Array(bins).fill(0);
  for (const delay of delays) counts[Math.min(bins - 1, Math.floor(delay / 250))]++;
  const sorted = [...delays].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  const late = sorted[Math.floor(sorted.length * 0.95)];
  const points = delays.length ? counts.map((count, i) => ({
    value: (100 * count) / delays.length,
    label: i === bins - 1 ? "above 9.75 s" : `${(i * 0.25).toFixed(2)}–${((i + 1) * 0.25).toFixed(2)} s`,
  })) : [];
  if (points.length) points.at(-1).rest = `half in ${milliseconds(middle)}, 95 % in ${milliseconds(late)}`;
  plot(document.getElementById("plot-propagation"), points, {
    format: (v) => `${v.toFixed(0)} %`, ends: ["0 s", "10 s"], soft: true,
    summary: delays.length ? `Half of the reports of a block came within ${milliseconds(middle)} of the first, 95 % within ${milliseconds(late)}` : "Propagation of blocks",
  });
}

/** A miner is known by its address; nodes do not say whose it is. */
function minerName(miner) {
  return `${miner.slice(0, 8)}…${miner.slice(-4)}`;
}

export function miners(network) {
  const { of, miners: found } = network.miners(MINER_BLOCKS);
  setText(document.getElementById("miners-of"), of ? `of the newest ${of} blocks` : "");
  const rows = found.map(({ miner, blocks, uncles }) => {
    const bar = make("i");
    bar.style.width = `${of ? (100 * blocks) / of : 0}%`;
    const late = uncles ? ` +${uncles} late` : "";
    const node = network.minerNodes.get(miner);
    return make("li", {},
      make("span", { class: node ? "name" : "name mono", title: node ? `${miner}, told first by ${node}` : miner, text: node ?? minerName(miner) }),
      make("span", { class: "share", "aria-hidden": "true" }, bar),
      make("span", { class: "value", text: `${blocks}${late} · ${of ? Math.round((100 * blocks) / of) : 0} %` }));
  });
  if (!rows.length) rows.push(make("li", { class: "hint", text: "no block has been mined yet" }));
  document.getElementById("miners").replaceChildren(...rows);
}

export function bomb(network) {
  const host = document.getElementById("bomb");
  const { forecast } = network;
  if (!forecast) {
    const text = network.best.length < 10 ? "not enough blocks yet" : "no forecast: the blocks do not show when the bomb begins, and no node says so";
    host.replaceChildren(make("p", { class: "hint", text }));
    return;
  }
  const at = (milestone) => milestone.seconds < 1 ? `${milestone.blockTime} s blocks now` : `${milestone.blockTime} s blocks in ${span(milestone.seconds)}`;
  const [first, ...later] = forecast.milestones;
  const parts = [];
  if (first) parts.push(make("p", { class: "big", text: at(first) }));
  for (const milestone of later) parts.push(make("p", { text: `${at(milestone)} (from block ${whole(milestone.number)})` }));
  const from = first ? `From block ${whole(first.number)}. ` : "";
  parts.push(make("p", { class: "hint", text: `${from}At today's hashrate; ${forecast.bomb >= 1 ? `the bomb adds ${short(forecast.bomb)} to the difficulty now` : "the bomb adds nothing yet"}.` }));
  host.replaceChildren(...parts);
}

/** Blocks of all branches by height; lanes below the best chain are the others. */
function lay(network) {
  const head = network.headBlock();
  if (!head) return { cells: [], lowest: 0, lanes: 1 };
  const lowest = Math.max(0, head.number - TREE_HEIGHTS + 1);
  const cells = new Map();
  const taken = new Map();
  const place = (number, hash, lane, more) => {
    const used = taken.get(number) ?? new Set();
    let free = lane;
    while (used.has(free)) free++;
    used.add(free);
    taken.set(number, used);
    cells.set(hash, { number, hash, lane: free, ...more });
  };
  for (const block of network.best) if (block.number >= lowest) place(block.number, block.hash, 0, { parent: block.parent, miner: block.miner, kind: "best" });
  const others = [...network.blocks.values()].filter((block) => block.number >= lowest && !network.onBest.has(block.hash));
  others.sort((a, b) => a.number - b.number || (a.hash < b.hash ? -1 : 1));
  for (const block of others) place(block.number, block.hash, Math.max(1, cells.get(block.parent)?.lane ?? 1), { parent: block.parent, miner: block.miner, kind: "side" });
  for (const block of network.best) {
    for (const uncle of block.uncles) {
      if (!uncle.hash || !(uncle.number >= lowest)) continue;
      const known = cells.get(uncle.hash);
      if (known) known.kind = known.kind === "best" ? "best" : "uncle";
      else place(uncle.number, uncle.hash, 1, { parent: uncle.parent, miner: uncle.miner ?? "", kind: "uncle", unseen: true });
    }
  }
  return { cells: [...cells.values()], byHash: cells, lowest, lanes: Math.max(1, ...[...cells.values()].map((cell) => cell.lane + 1)) };
}

/** The newest blocks as a tree. */
export function tree(network, choose) {
  const host = document.getElementById("tree");
  const width = Number(host.dataset.width ?? 0);
  const atEnd = host.scrollLeft + width >= host.scrollWidth - 30 || !host.firstChild;
  host.dataset.width = host.clientWidth;
  const focused = document.activeElement?.dataset?.hash;
  const { cells, byHash, lowest, lanes } = lay(network);
  if (!cells.length) {
    host.replaceChildren(make("p", { class: "hint", text: "no block yet" }));
    host.dataset.key = "";
    return;
  }
  const heads = new Map();
  for (const node of network.connected()) if (node.block) heads.set(node.block.hash, (heads.get(node.block.hash) ?? 0) + 1);
  const key = cells.map((cell) => `${cell.hash}${cell.kind}${cell.lane}${heads.get(cell.hash) ?? 0}`).join();
  if (host.dataset.key === key) return;
  host.dataset.key = key;
  const [stepX, stepY, w, h] = [78, 46, 60, 32];
  const highest = Math.max(...cells.map((cell) => cell.number));
  const picture = svg("svg", { width: (highest - lowest + 1) * stepX + 8, height: lanes * stepY + 14 });
  const spot = (cell) => ({ x: (cell.number - lowest) * stepX + 6, y: cell.lane * stepY + 12 });
  for (const cell of cells) {
    const parent = byHash.get(cell.parent);
    if (!parent) continue;
    const [a, b] = [spot(parent), spot(cell)];
    const [x1, y1, x2, y2] = [a.x + w, a.y + h / 2, b.x, b.y + h / 2];
    picture.append(svg("path", { class: "link", d: `M${x1} ${y1}C${x1 + 9} ${y1} ${x2 - 9} ${y2} ${x2} ${y2}` }));
  }
  cells.sort((a, b) => a.number - b.number || a.lane - b.lane);
  for (const cell of cells) {
    const { x, y } = spot(cell);
    const count = heads.get(cell.hash) ?? 0;
    const kind = { best: "on the best chain", side: "on another branch", uncle: "an uncle" }[cell.kind];
    const name = `Block ${cell.number}, ${shortHash(cell.hash)}, ${kind}, mined by ${minerName(cell.miner)}${count ? `, head of ${count} nodes` : ""}`;
    const group = svg("g", { class: `block ${cell.kind}`, tabindex: "0", role: "button", "aria-label": name, "data-hash": cell.hash });
    group.append(svg("title", {}, name));
    group.append(svg("rect", { x, y, width: w, height: h, rx: 6 }));
    group.append(svg("text", { x: x + w / 2, y: y + 14 }, `#${cell.number}`));
    group.append(svg("text", { class: "small", x: x + w / 2, y: y + 26 }, cell.miner.slice(2, 8)));
    if (count) {
      group.append(svg("circle", { class: "badge", cx: x + w - 3, cy: y + 1, r: 8.5 }));
      group.append(svg("text", { class: "count", x: x + w - 3, y: y + 4.2 }, count > 99 ? "99+" : String(count)));
    }
    const open = () => choose(cell.hash, cell.unseen);
    group.addEventListener("click", open);
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      open();
    });
    picture.append(group);
  }
  host.replaceChildren(picture);
  if (atEnd) host.scrollLeft = host.scrollWidth;
  if (focused) host.querySelector(`[data-hash="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

export function reorgs(network) {
  const items = network.reorgs.slice(0, 8).map((reorg) => {
    const depth = reorg.depth === 1 ? "1 block" : `${reorg.depth} blocks`;
    const named = reorg.nodes.slice(0, 3).join(", ");
    const who = reorg.count > 3 ? `${named} and ${reorg.count - 3} more` : named;
    return make("li", {},
      make("span", { class: "mono", text: clock(reorg.at) }),
      ` #${reorg.from.number} ${shortHash(reorg.from.hash)} → #${reorg.to.number} ${shortHash(reorg.to.hash)}, ${depth} dropped, by ${who}`);
  });
  if (!items.length) items.push(make("li", { class: "hint", text: "none since this dashboard started" }));
  document.getElementById("reorgs").replaceChildren(...items);
}

/** Who wants to report and does not know the secret. */
export function refused(network) {
  const items = network.refused.map((one) => make("li", {},
    make("span", { class: "dotted wrong", text: `${one.name} from ${one.address} was refused at ${clock(one.at)}: ${one.why}. Its --ethstats must have the WS_SECRET of this dashboard.` })));
  const host = document.getElementById("refused");
  const key = network.refused.map((one) => `${one.name}${one.at}`).join();
  if (host.dataset.key === key) return;
  host.dataset.key = key;
  host.replaceChildren(...items);
}

/** Columns of the table: title, how to sort, how to show. */
const text = (value) => (value === null || value === undefined || value === "" ? "–" : String(value));
/** Longest words of a trouble in the table; the whole is beside the pointer. */
const TROUBLE_CHARS = 70;
const WORDS = {
  good: ["", "in step with the network"],
  branch: ["", "on a short branch"],
  syncing: ["behind", "syncing"],
  behind: ["behind", "behind the network"],
  silent: ["behind", "has not told of a block yet"],
  split: ["wrong", "follows another chain"],
  elsewhere: ["wrong", "is on another network"],
  gone: ["", "does not report any more"],
};
export const COLUMNS = [
  { key: "pin", title: "", label: "Pinned", left: true },
  { key: "name", title: "Node", left: true, sort: (node) => node.name.toLowerCase() },
  { key: "type", title: "Client", left: true, sort: (node) => node.node },
  { key: "state", title: "State", left: true, sort: (_, standing) => standing },
  { key: "latency", title: "Latency", sort: (node) => node.latency ?? Infinity, show: (node) => milliseconds(node.latency) },
  { key: "hashrate", title: "Mining", sort: (node) => (node.mining ? node.hashrate : -1), show: (node) => (node.mining ? short(node.hashrate, "H/s") : "no") },
  { key: "peers", title: "Peers", sort: (node) => node.peers ?? -1, show: (node) => text(node.peers), level: (node) => (node.peers === null || !node.connected ? "" : node.peers <= 1 ? "bad" : node.peers < 4 ? "fair" : "") },
  { key: "pending", title: "Pending", sort: (node) => node.pending ?? -1, show: (node) => text(node.pending) },
  { key: "block", title: "Block", sort: (node) => node.block?.number ?? -1, show: (node) => (node.block ? `#${whole(node.block.number)}` : "–") },
  { key: "hash", title: "Hash", sort: (node) => node.block?.hash ?? "", left: true },
  { key: "td", title: "Total diff.", sort: (node, _, block) => Number(block?.td ?? -1), show: (_, block) => (block ? short(Number(block.td)) : "–") },
  { key: "txs", title: "Txs", sort: (node, _, block) => block?.transactions ?? -1, show: (_, block) => text(block?.transactions) },
  { key: "uncles", title: "Uncles", sort: (node, _, block) => block?.uncles.length ?? -1, show: (_, block) => text(block?.uncles.length) },
  { key: "age", title: "Last block", sort: (node) => -(node.block?.at ?? 0) },
  { key: "delay", title: "Propagation", sort: (node) => node.block?.delay ?? Infinity, show: (node) => milliseconds(node.block?.delay) },
  { key: "spark", title: "Newest 40", sort: (node) => mean(node.delays) ?? Infinity },
  { key: "average", title: "Average", sort: (node) => mean(node.delays) ?? Infinity, show: (node) => milliseconds(mean(node.delays)) },
  { key: "uptime", title: "Uptime", sort: (node) => node.uptime, show: (node) => `${node.uptime} %` },
];

function mean(numbers) {
  return numbers.length ? Math.round(numbers.reduce((a, b) => a + b, 0) / numbers.length) : null;
}

/** The table of nodes: rows are kept and only those that changed are written. */
export class Table {
  constructor(network, choose) {
    this.network = network;
    this.choose = choose;
    this.rows = new Map();
    this.pinned = new Set(stored("pinned", []));
    this.order = stored("order", { key: "name", down: false });
    this.search = "";
    this.cells = COLUMNS.map((column) => this.header(column));
    document.getElementById("heads").replaceChildren(...this.cells);
    document.getElementById("search").addEventListener("input", (event) => {
      this.search = event.target.value.trim().toLowerCase();
      this.arrange();
    });
    this.mark();
  }

  header(column) {
    const cell = make("th", { scope: "col", class: column.left ? "left" : "" });
    if (!column.sort) {
      cell.append(make("span", { class: "hidden", text: column.label ?? column.title }));
      return cell;
    }
    const button = make("button", { type: "button", text: column.title });
    button.addEventListener("click", () => {
      this.order = { key: column.key, down: this.order.key === column.key ? !this.order.down : false };
      keep("order", this.order);
      this.mark();
      this.arrange();
    });
    cell.append(button);
    return cell;
  }

  mark() {
    COLUMNS.forEach((column, i) => {
      if (column.key === this.order.key) this.cells[i].setAttribute("aria-sort", this.order.down ? "descending" : "ascending");
      else this.cells[i].removeAttribute("aria-sort");
    });
  }

  update(ids) {
    for (const id of ids) {
      const node = this.network.nodes.get(id);
      if (!node) {
        this.rows.get(id)?.row.remove();
        this.rows.delete(id);
        continue;
      }
      if (!this.rows.has(id)) this.rows.set(id, this.row(id));
      this.write(this.rows.get(id), node);
    }
    this.arrange();
    document.getElementById("no-nodes").hidden = this.rows.size > 0;
  }

  row(id) {
    const cells = {};
    const row = make("tr", { "data-id": id });
    for (const column of COLUMNS) {
      const cell = make(column.key === "name" ? "th" : "td", { class: column.left ? "left" : "" });
      if (column.key === "name") { cell.scope = "row"; cell.classList.add("name-cell"); cell.style.color = "inherit"; }
      cells[column.key] = cell;
      row.append(cell);
    }
    const pin = make("button", { type: "button", class: "pin" });
    pin.addEventListener("click", () => {
      if (!this.pinned.delete(id)) this.pinned.add(id);
      keep("pinned", [...this.pinned].slice(0, 200));
      this.write(this.rows.get(id), this.network.nodes.get(id));
      this.arrange();
    });
    cells.pin.append(pin);
    const hash = make("button", { type: "button", class: "link-button mono" });
    hash.addEventListener("click", () => this.choose(this.network.nodes.get(id)?.block?.hash));
    cells.hash.append(hash);
    return { row, cells, pin, hash };
  }

  write({ row, cells, pin, hash }, node) {
    const network = this.network;
    const standing = network.standing(node);
    const [dot, words] = WORDS[standing];
    const block = node.block && network.blocks.get(node.block.hash);
    row.className = node.connected ? "" : "gone";
    setText(cells.name, node.name);
    cells.name.title = [`pod ${node.name}`, node.node, `network ${node.net}`, node.protocol, `port ${node.port}`, `${node.os} ${node.osVersion}`, `from ${node.address}`, `API ${node.api}`, `reporter ${node.client}`, node.contact].filter(Boolean).join("\n");
    pin.setAttribute("aria-pressed", String(this.pinned.has(node.id)));
    setText(pin, this.pinned.has(node.id) ? "★" : "☆");
    pin.setAttribute("aria-label", `Pin ${node.name}`);
    const [client, version] = node.node.split("/");
    setText(cells.type, [client, version].filter(Boolean).join(" ") || "–");
    cells.type.title = node.node;
    this.state(cells.state, node, dot, words);
    const shown = node.block ? shortHash(node.block.hash) : "–";
    setText(hash, shown);
    hash.disabled = !node.block;
    hash.setAttribute("aria-label", `What nodes said of block ${shown}`);
    for (const column of COLUMNS) {
      if (!column.show) continue;
      setText(cells[column.key], column.show(node, block));
      const level = column.level?.(node) ?? "";
      if (cells[column.key].className !== level) cells[column.key].className = level;
    }
    const key = node.delays.join();
    if (cells.spark.dataset.key !== key) {
      cells.spark.dataset.key = key;
      const label = node.delays.length ? `Newest ${node.delays.length} delays, ${milliseconds(mean(node.delays))} on average` : "no delays yet";
      cells.spark.replaceChildren(spark(node.delays, label));
    }
    this.age(cells.age, node);
  }

  /** Its state in words; a dataset in the making has a bar. */
  state(cell, node, dot, words) {
    const twice = node.sessions > 1 ? `, ${node.sessions} report under this name` : "";
    const { dataset } = node;
    const doubt = node.doubted ? "claims more work than its chain can have" : "";
    const trouble = [doubt, node.trouble].filter(Boolean).join("; ");
    if (cell.title !== trouble) cell.title = trouble;
    const brief = trouble.length > TROUBLE_CHARS ? `${trouble.slice(0, TROUBLE_CHARS)}…` : trouble;
    if (trouble && node.connected) [dot, words] = ["wrong", `${words}: ${brief}`];
    if (!dataset) {
      if (cell.firstChild?.nodeName !== "SPAN") cell.replaceChildren(make("span"));
      cell.firstChild.className = `dotted ${dot}`;
      setText(cell.firstChild, words + twice);
      return;
    }
    const percent = dataset.total ? Math.floor((100 * dataset.done) / dataset.total) : 0;
    const eta = dataset.eta === null ? "" : `, ${span(dataset.eta)} left`;
    const what = { generating: "making", checking: "checking", waiting: "waiting for" }[dataset.phase] ?? dataset.phase;
    const label = `${what} DAG ${dataset.epoch}: ${percent} %${eta}`;
    if (cell.firstChild?.nodeName !== "DIV") cell.replaceChildren(make("div", {}, make("span", { class: "dotted behind" }), make("progress", { max: 100 })));
    const [said, bar] = cell.firstChild.children;
    setText(said, label);
    bar.value = percent;
    bar.setAttribute("aria-label", label);
  }

  age(cell, node) {
    setText(cell, node.block ? `${span((this.network.now() - node.block.at) / 1000)} ago` : "–");
  }

  /** Times go on without news. */
  tick() {
    for (const [id, { cells }] of this.rows) {
      const node = this.network.nodes.get(id);
      if (node) this.age(cells.age, node);
    }
  }

  /** Puts rows in order: pinned first. Rows that are where they belong stay where they are. */
  arrange() {
    const column = COLUMNS.find((one) => one.key === this.order.key) ?? COLUMNS[1];
    const direction = this.order.down ? -1 : 1;
    const keyed = [...this.rows].map(([id, parts]) => {
      const node = this.network.nodes.get(id);
      const block = node.block && this.network.blocks.get(node.block.hash);
      return { id, row: parts.row, node, pinned: this.pinned.has(id), value: column.sort(node, this.network.standing(node), block) };
    });
    keyed.sort((a, b) => {
      if (a.pinned !== b.pinned) return a.pinned ? -1 : 1;
      if (a.node.connected !== b.node.connected) return a.node.connected ? -1 : 1;
      const order = a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
      return order * direction || (a.id < b.id ? -1 : 1);
    });
    const body = document.getElementById("rows");
    let place = body.firstElementChild;
    for (const { row, node } of keyed) {
      row.hidden = this.search !== "" && ![node.name, node.node, node.address, node.contact].some((said) => said.toLowerCase().includes(this.search));
      if (place === row) place = place.nextElementSibling;
      else body.insertBefore(row, place);
    }
  }
}

/** A block, and what each node said of it and when. */
export function details(network, block) {
  const seconds = (ms) => `+${milliseconds(ms)}`;
  const made = block.timestamp ? new Date(block.timestamp * 1000).toISOString().replace("T", " ").slice(0, 19) : "–";
  const facts = [
    ["Hash", block.hash], ["Parent", block.parent], ["Mined by", block.miner], ["Time", `${made} UTC`],
    ["Difficulty", whole(Number(block.difficulty))], ["Total difficulty", whole(Number(block.td))],
    ["Gas", `${whole(block.gasUsed)} of ${whole(block.gasLimit)}`], ["Transactions", whole(block.transactions)],
    ["Uncles", block.uncles.length ? block.uncles.map((uncle) => `#${uncle.number} ${shortHash(uncle.hash)} by ${shortHash(uncle.miner)}`).join(", ") : "none"],
    ["State root", block.stateRoot],
    ["Branch", network.onBest.has(block.hash) ? "best chain" : "not on the best chain"],
  ];
  const list = make("dl", {}, ...facts.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { class: "mono", text: value })]));
  const told = new Set(block.reports.map((one) => one.node));
  const silent = network.connected().filter((node) => !told.has(node.id)).map((node) => node.name);
  const parts = [list, make("h3", { text: `Told by ${block.reports.length} nodes` })];
  if (block.reports.length) {
    const rows = block.reports.map((one) => make("tr", {}, make("th", { scope: "row", class: "left", text: one.node }), make("td", { text: clock(one.at) }), make("td", { text: one.delay ? seconds(one.delay) : "first" })));
    parts.push(make("table", {},
      make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "left", text: "Node" }), make("th", { scope: "col", text: "At" }), make("th", { scope: "col", text: "After the first" }))),
      make("tbody", {}, ...rows)));
  } else parts.push(make("p", { class: "hint", text: "Nobody had it as its newest block while this dashboard ran: it is from a history." }));
  if (block.reports.length && silent.length) parts.push(make("p", { class: "hint", text: `Not told by: ${silent.join(", ")}` }));
  for (const sibling of block.siblings) {
    parts.push(make("p", {}, `At the same height: `, make("span", { class: "mono", text: shortHash(sibling.hash) }), ` by ${shortHash(sibling.miner)}, told by ${sibling.nodes.join(", ") || "nobody"}`));
  }
  document.getElementById("details-title").textContent = `Block #${whole(block.number)}`;
  document.getElementById("details-body").replaceChildren(...parts);
}

export function stored(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`hematite.${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(`hematite.${name}`, JSON.stringify(value));
  } catch {
    // A browser that keeps nothing shows the page all the same.
  }
}
