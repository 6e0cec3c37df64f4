// How the page writes what it shows. Text of the chain only ever becomes text of the page.

const WEI_DIGITS = 18;

/** An element with attributes and children; strings become text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null).map((child) => child instanceof Node ? child : String(child)));
  return element;
}

/** A number with spaces between thousands, of any size. */
export function grouped(value) {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
}

/** An amount of wei in ether, every digit of it. */
export function ether(wei) {
  const digits = wei.toString().padStart(WEI_DIGITS + 1, "0");
  const whole = digits.slice(0, -WEI_DIGITS);
  const part = digits.slice(-WEI_DIGITS).replace(/0+$/, "");
  return `${grouped(whole)}${part ? `.${part}` : ""} ETH`;
}

export function gwei(wei) {
  return `${Number(wei) / 1e9} gwei`;
}

/** How long ago, in the largest unit that fits. */
export function ago(seconds) {
  const past = Math.max(0, Math.round(Date.now() / 1000 - seconds));
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  const [name, size] = units.find(([, size]) => past >= size) ?? ["s", 1];
  return `${Math.floor(past / size)} ${name} ago`;
}

export function moment(seconds) {
  return `${new Date(seconds * 1000).toISOString().replace("T", " ").replace(".000Z", " UTC")} (${ago(seconds)})`;
}

/** The ends of a hash, for tables. */
export function short(hash) {
  return `${hash.slice(0, 10)}…${hash.slice(-6)}`;
}

/** Bytes as text if that is what they are, else null. */
export function readable(hex) {
  const bytes = Uint8Array.from(hex.slice(2).match(/../g) ?? [], (pair) => parseInt(pair, 16));
  if (!bytes.length) return null;
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

export const link = {
  block: (number) => make("a", { href: `#/block/${number}` }, grouped(number)),
  blockHash: (hash) => make("a", { href: `#/block/${hash}`, title: hash }, short(hash)),
  transaction: (hash, whole) => make("a", { href: `#/tx/${hash}`, title: hash }, whole ? hash : short(hash)),
  address: (address, whole) => make("a", { href: `#/address/${address}`, title: address }, whole ? address : short(address)),
};

/** A list of facts; those that are null are left out. */
export function facts(rows) {
  const shown = rows.filter(([, value]) => value != null);
  return make("dl", { class: "facts" }, shown.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

/** A table that scrolls by itself where the page is narrow. */
export function table(caption, heads, rows) {
  const left = heads.map((head) => head.startsWith("<"));
  const kind = (at) => ({ class: left[at] ? "left" : null });
  return make("div", { class: "scroll table", tabindex: "0", role: "region", "aria-label": caption },
    make("table", {},
      make("caption", { class: "hidden" }, caption),
      make("thead", {}, make("tr", {}, heads.map((head, at) => make("th", { scope: "col", ...kind(at) }, head.replace(/^</, ""))))),
      make("tbody", {}, rows.map((row) => make("tr", {}, row.map((cell, at) => make("td", kind(at), cell)))))));
}

export function section(title, ...children) {
  return make("section", {}, make("h2", {}, title), ...children);
}

export function steps(...links) {
  return make("p", { class: "steps" }, links);
}

export function step(text, to) {
  return to == null ? make("span", { "aria-disabled": "true" }, text) : make("a", { href: to }, text);
}
