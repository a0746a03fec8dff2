// A small chart as inline SVG. Never scripts, and says in its title what it shows.
import type { Chart } from "../health";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, HOUR] = [600, 120, 3600];

/** Points over the last hour, from 0 to the largest value. */
export function plot({ title, latest, points }: Chart): SVGElement {
  const most = Math.max(...points.map(({ value }) => value)) || 1;
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", preserveAspectRatio: "none" });
  const name = make("title", {});
  name.textContent = `${title}: ${latest}`;
  svg.append(name, make("line", { class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 }));
  const at = points.map(({ ago, value }) => ({
    x: 4 + (WIDTH - 8) * (1 - Math.min(ago, HOUR) / HOUR),
    y: HEIGHT - 4 - (HEIGHT - 12) * (value / most),
  }));
  svg.append(
    make("polyline", { class: "line", points: at.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ") }),
  );
  for (const { x, y } of at) {
    // A dot is a line without length, so that it stays round however the picture is stretched.
    svg.append(make("path", { class: "dot", d: `M${x.toFixed(1)} ${y.toFixed(1)}h0.01` }));
  }
  return svg;
}

function make(tag: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, String(value));
  }
  return element;
}
