// The health page: lays out what its host words. Never asks for anything but that, and for what a button names.
import type { Button, Chart, Health, Table } from "../health";
import "./health.css";
import { plot } from "./plot";

const host = acquireVsCodeApi();
const page = document.getElementById("page") as HTMLElement;

type Child = Node | string;

function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const button = ({ command, label }: Button): HTMLElement => {
  const element = make("button", { type: "button" }, label);
  element.addEventListener("click", () => host.postMessage({ command }));
  return element;
};

/** Parts of the page, by name; one is drawn again only where what it shows has changed, so that the focus stays. */
const drawn = new Map<string, { said: string; element: HTMLElement }>();

function part<T>(name: string, data: T, draw: (data: T) => HTMLElement): HTMLElement {
  const said = JSON.stringify(data);
  const before = drawn.get(name);
  if (before?.said === said) {
    return before.element;
  }
  const element = draw(data);
  const open = before?.element.querySelector("details")?.open;
  const details = element.querySelector("details");
  if (open && details) {
    details.open = true;
  }
  before?.element.replaceWith(element);
  drawn.set(name, { said, element });
  return element;
}

function draw(health: Health): void {
  const parts = [
    part("title", health.title, (title) => make("h1", {}, title)),
    part("summary", [health.summary, health.tone] as const, ([summary, tone]) =>
      make("p", { class: `summary ${tone}`, role: "status" }, summary),
    ),
    part("problems", health.problems, (problems) =>
      make(
        "div",
        { class: "problems" },
        ...problems.map((one) =>
          make("div", { class: `problem ${one.tone}` }, make("p", {}, one.text), ...one.buttons.map(button)),
        ),
      ),
    ),
    part("buttons", health.buttons, (buttons) => make("div", { class: "buttons" }, ...buttons.map(button))),
    part("charts", health.charts, (charts) => make("div", { class: "charts" }, ...charts.map(chart))),
    part("sections", health.sections, (sections) =>
      make("div", { class: "sections" }, ...sections.map(({ title, rows }) => section(title, rows))),
    ),
    part("turns", health.turns, tabular),
    ...(health.checkup ? [part("checkup", health.checkup, tabular)] : []),
  ];
  const stays = new Set<Node>(parts);
  for (const child of [...page.childNodes]) {
    if (!stays.has(child)) {
      child.remove();
    }
  }
  parts.forEach((element, index) => {
    if (page.childNodes[index] !== element) {
      page.insertBefore(element, page.childNodes[index] ?? null);
    }
  });
}

function section(title: string, rows: Health["sections"][number]["rows"]): HTMLElement {
  const list = make("dl");
  for (const { label, value, share } of rows) {
    const told = make("dd", {}, value);
    if (share !== undefined) {
      const meter = make("meter", { min: "0", max: "1", value: String(share), "aria-label": `${label}: ${value}` });
      told.append(meter);
    }
    list.append(make("dt", {}, label), told);
  }
  return make("section", {}, make("h2", {}, title), list);
}

function chart(data: Chart): HTMLElement {
  const heading = make("h2", {}, data.title);
  if (!data.points.length) {
    return make("section", {}, heading, make("p", { class: "empty" }, data.empty));
  }
  const rows = data.points.map(({ ago, label }) => [`${Math.round(ago / 60)} min`, label]).reverse();
  return make(
    "section",
    {},
    heading,
    make("p", { class: "latest" }, data.latest),
    plot(data),
    make(
      "div",
      { class: "ends", "aria-hidden": "true" },
      make("span", {}, data.ends[0]),
      make("span", {}, data.ends[1]),
    ),
    make("details", {}, make("summary", {}, data.table), table(data.columns, rows)),
  );
}

function tabular(data: Table): HTMLElement {
  const body = data.rows.length ? table(data.columns, data.rows) : make("p", { class: "empty" }, data.empty);
  return make("section", { class: "wide" }, make("h2", {}, data.title), body);
}

function table(columns: readonly string[], rows: readonly string[][]): HTMLElement {
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name)));
  const body = rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

window.addEventListener("message", ({ data }: MessageEvent<Health>) => draw(data));
host.postMessage({ command: "ready" });
