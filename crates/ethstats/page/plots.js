// Plots as SVG, without a library. Every text goes in as text.

const SVG = "http://www.w3.org/2000/svg";
const BOTTOM = 16;
const TOP = 6;

export function svg(name, attributes = {}, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Steps of an axis that people can read. */
function ticks(most) {
  if (!(most > 0)) return [0, 1];
  const rough = most / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const out = [];
  for (let v = 0; v <= most + step * 0.001 || out.length < 2; v += step) out.push(v);
  if (out.at(-1) < most) out.push(out.at(-1) + step);
  return out;
}

/** Writes the steps of an axis with as many digits as they need to differ. */
function written(steps, unit) {
  for (let digits = 0; digits < 8; digits++) {
    const texts = steps.map((value) => unit(value, digits));
    if (new Set(texts).size === steps.length) return texts;
  }
  return steps.map((value) => unit(value));
}

/**
 * Draws bars or a line. `points` are {value, label, key}; `choose` is called with a key.
 * The plot is a picture for a screen reader, with `summary` as its name.
 */
export function plot(figure, points, { kind = "bars", format, summary, choose, mean = null, from = 0, unit = null, ends = null, soft = false }) {
  const area = figure.querySelector(".area");
  const output = figure.querySelector("output");
  if (points.length < (kind === "line" ? 2 : 1)) {
    const none = document.createElement("p");
    none.className = "none";
    none.textContent = "not enough blocks yet";
    area.replaceChildren(none);
    output.textContent = "";
    return;
  }
  const width = Math.max(160, area.clientWidth);
  const height = area.clientHeight || 110;
  const values = points.map((point) => point.value);
  const high = Math.max(...values, mean ?? 0);
  const low = from === "auto" ? Math.min(...values) : 0;
  // A line that hardly moves is shown from near its lowest value, and its axis says so.
  const base = from === "auto" && low > 0 && (high - low) / high < 0.5 ? low - (high - low || high * 0.01) * 0.15 : 0;
  const steps = ticks(high - base).map((v) => v + base);
  const top = Math.max(steps.at(-1), high) - base || 1;
  const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - (value - base) / top);
  const texts = unit ? written(steps, unit) : steps.map(format);
  const left = Math.max(36, 10 + 6.3 * Math.max(...texts.map((one) => one.length)));
  const slot = (width - left - 4) / points.length;
  const x = (i) => left + slot * i;
  const picture = svg("svg", { width, height, role: "img", "aria-label": summary });
  for (const [i, value] of steps.entries()) {
    picture.append(svg("line", { class: "grid", x1: left, x2: width, y1: y(value), y2: y(value) }));
    picture.append(svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, texts[i]));
  }
  const [first, last] = ends ?? [points[0].label, points.at(-1).label];
  picture.append(svg("text", { x: left, y: height - 3 }, first));
  picture.append(svg("text", { x: width - 2, y: height - 3, "text-anchor": "end" }, last));
  if (kind === "line") {
    const path = points.map((point, i) => `${i ? "L" : "M"}${(x(i) + slot / 2).toFixed(1)} ${y(point.value).toFixed(1)}`);
    picture.append(svg("path", { class: "line", d: path.join("") }));
    if (slot > 6) points.forEach((point, i) => picture.append(svg("circle", { class: "dot", cx: x(i) + slot / 2, cy: y(point.value), r: 2 })));
  } else {
    const gap = slot > 5 ? 1.5 : 0.5;
    points.forEach((point, i) => {
      const tall = Math.max(point.value > 0 ? 1 : 0, y(base) - y(point.value));
      picture.append(svg("rect", { class: soft ? "bar soft" : "bar", x: x(i) + gap / 2, y: y(base) - tall, width: Math.max(1, slot - gap), height: tall }));
    });
  }
  if (mean !== null) picture.append(svg("line", { class: "mean", x1: left, x2: width, y1: y(mean), y2: y(mean) }));
  const rest = output.dataset.rest = points.at(-1).rest ?? format(points.at(-1).value);
  output.textContent = rest;
  points.forEach((point, i) => {
    const hit = svg("rect", { class: "hit", x: x(i), y: 0, width: Math.max(1, slot), height: height - BOTTOM });
    hit.addEventListener("pointerenter", () => { output.textContent = `${point.label}: ${format(point.value)}`; });
    hit.addEventListener("pointerleave", () => { output.textContent = rest; });
    if (choose && point.key) hit.addEventListener("click", () => choose(point.key));
    picture.append(hit);
  });
  area.replaceChildren(picture);
}

/** A small picture of a node's newest delays. */
export function spark(delays, label) {
  const [width, height] = [84, 18];
  const picture = svg("svg", { class: "spark", width, height, role: "img", "aria-label": label });
  const most = Math.max(200, ...delays);
  // One path for all bars: there are as many of these as nodes.
  const bars = delays.map((delay, i) => `M${(i * 2.1 + 0.8).toFixed(1)} ${height}v${-Math.max(1.5, (height * delay) / most).toFixed(1)}`);
  picture.append(svg("path", { class: "stems", d: bars.join("") }));
  return picture;
}
