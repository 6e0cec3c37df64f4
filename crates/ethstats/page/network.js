// What the dashboard told, and what follows from it. Knows no page.

/** Blocks whose mean time and hashrate are shown, as on dashboards before. */
const MEAN_BLOCKS = 64;
/** A block that is heard of so long after it was made was old already. */
const OLD_MS = 120000;
/** Heights that are kept, newest first. */
const HEIGHTS_MAX = 220;

export class Network {
  constructor() {
    this.nodes = new Map();
    this.blocks = new Map();
    this.reorgs = [];
    this.refused = [];
    this.forecast = null;
    this.head = null;
    this.network = null;
    /** The server's clock minus ours, in milliseconds. */
    this.skew = 0;
    this.changedNodes = new Set();
    this.chainChanged = false;
  }

  /** Takes everything, or what changed. */
  apply(update, now = Date.now()) {
    if (update.all) {
      for (const id of this.nodes.keys()) this.changedNodes.add(id);
      this.nodes.clear();
      this.blocks.clear();
      this.chainChanged = true;
    }
    if (update.now) this.skew = update.now - now;
    for (const id of update.gone ?? []) {
      this.nodes.delete(id);
      this.changedNodes.add(id);
    }
    for (const node of update.nodes ?? []) {
      this.nodes.set(node.id, node);
      this.changedNodes.add(node.id);
    }
    for (const block of update.blocks ?? []) {
      this.blocks.set(block.hash, block);
      this.chainChanged = true;
    }
    if ("head" in update && update.head !== this.head) {
      this.head = update.head;
      this.chainChanged = true;
    }
    if ("network" in update) this.network = update.network;
    if (update.reorgs) this.reorgs = update.reorgs;
    if (update.refused) this.refused = update.refused;
    if ("forecast" in update) this.forecast = update.forecast;
    if (this.chainChanged) this.derive();
  }

  /** The server's time. */
  now() { return Date.now() + this.skew; }

  /** The best chain, oldest first, as far back as it is known. */
  derive() {
    const best = [];
    let block = this.blocks.get(this.head);
    while (block && best.length < HEIGHTS_MAX) {
      best.push(block);
      const parent = this.blocks.get(block.parent);
      block = parent && parent.number < block.number ? parent : null;
    }
    this.best = best.reverse();
    this.onBest = new Set(best.map((one) => one.hash));
    const lowest = (best.at(-1)?.number ?? 0) - HEIGHTS_MAX;
    for (const [hash, one] of this.blocks) if (one.number < lowest) this.blocks.delete(hash);
  }

  /** The node that tells first of most of a miner's blocks. */
  minerNodes = new Map();
  best = [];
  onBest = new Set();

  headBlock() { return this.best.at(-1) ?? null; }

  /** Blocks of the best chain with the time since the one before. */
  steps(most) {
    const steps = [];
    for (let i = 1; i < this.best.length; i++) {
      const [before, block] = [this.best[i - 1], this.best[i]];
      if (before.number !== block.number - 1) continue;
      // The genesis has no time of its own.
      if (before.number === 0) continue;
      steps.push({ block, seconds: block.timestamp - before.timestamp });
    }
    return steps.slice(-most);
  }

  meanTime() {
    const steps = this.steps(MEAN_BLOCKS);
    return steps.length ? steps.reduce((sum, step) => sum + step.seconds, 0) / steps.length : null;
  }

  hashrate() {
    const mean = this.meanTime();
    const head = this.headBlock();
    return mean && head ? Number(head.difficulty) / mean : null;
  }

  /** When the newest block was first heard of; of one that was old by then, when it was made. */
  lastBlockAt() {
    const head = this.headBlock();
    if (!head || head.number === 0) return null;
    const made = head.timestamp * 1000;
    return head.first && head.first - made < OLD_MS ? head.first : made;
  }

  connected() { return [...this.nodes.values()].filter((node) => node.connected); }

  /** How a node is: its height compared with the best, and its branch. */
  standing(node) {
    const head = this.headBlock();
    if (!node.connected) return "gone";
    if (this.network !== null && node.net !== this.network) return "elsewhere";
    if (node.caughtUp === false) return "syncing";
    if (!node.block || !head) return "silent";
    if (this.onBest.has(node.block.hash)) return head.number - node.block.number > 6 ? "behind" : "good";
    return Math.abs(head.number - node.block.number) > 6 ? "split" : "branch";
  }

  /** Who mined the newest blocks, by count. */
  miners(most) {
    const counts = new Map();
    const first = new Map();
    const told = (miner, node) => {
      const nodes = first.get(miner) ?? new Map();
      nodes.set(node, (nodes.get(node) ?? 0) + 1);
      first.set(miner, nodes);
    };
    const blocks = this.best.filter((block) => block.number > 0).slice(-most);
    for (const block of blocks) {
      const seen = counts.get(block.miner) ?? { miner: block.miner, blocks: 0, uncles: 0 };
      seen.blocks++;
      if (block.by) told(block.miner, block.by);
      counts.set(block.miner, seen);
      for (const uncle of block.uncles) {
        if (!uncle.miner) continue;
        const late = counts.get(uncle.miner) ?? { miner: uncle.miner, blocks: 0, uncles: 0 };
        late.uncles++;
        counts.set(uncle.miner, late);
      }
    }
    this.minerNodes = new Map();
    for (const [miner, nodes] of first) {
      const all = [...nodes.values()].reduce((a, b) => a + b, 0);
      const [node, times] = [...nodes].sort((a, b) => b[1] - a[1])[0];
      if (times >= 2 && times / all > 0.6 && this.nodes.get(node)?.mining) this.minerNodes.set(miner, node);
    }
    const sorted = [...counts.values()].sort((a, b) => b.blocks - a.blocks || (a.miner < b.miner ? -1 : 1));
    return { of: blocks.length, miners: sorted };
  }

  /** All delays of the connected nodes. */
  delays() { return this.connected().flatMap((node) => node.delays); }
}

// Made once: a formatter costs more than what it formats.
const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** 1234567 as 1,234,567. */
export function whole(number) {
  return number === null || number === undefined ? "–" : WHOLE.format(Number(number));
}

/** A number with three digits and a prefix. */
export function short(number, unit = "", more = 0) {
  if (number === null || number === undefined || !Number.isFinite(Number(number))) return "–";
  let value = Number(number);
  const prefixes = ["", "k", "M", "G", "T", "P", "E", "Z"];
  let i = 0;
  while (Math.abs(value) >= 1000 && i < prefixes.length - 1) { value /= 1000; i++; }
  const digits = i === 0 ? (Number.isInteger(value) ? 0 : 1) : value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(i === 0 ? digits : digits + more)} ${prefixes[i]}${unit}`.trim();
}

/** A time that passed, in the largest units that matter. */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min ${s % 60 ? `${s % 60} s` : ""}`.trim();
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  const days = Math.round(s / 86400);
  return days < 1000 ? `${days} days` : `${(days / 365.25).toFixed(1)} years`;
}

export function milliseconds(ms) {
  if (ms === null || ms === undefined) return "–";
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function price(wei) {
  if (wei === null || wei === undefined) return "–";
  const value = Number(wei);
  if (value < 1e5) return `${value} wei`;
  if (value < 1e15) return `${Number((value / 1e9).toPrecision(4))} gwei`;
  return `${Number((value / 1e18).toPrecision(4))} ether`;
}

export function shortHash(hash) { return hash ? `${hash.slice(0, 8)}…${hash.slice(-4)}` : "–"; }

export function clock(ms) { return CLOCK.format(ms); }
