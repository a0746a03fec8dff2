// Makes elements. Never sets HTML or inline styles: the page's policy forbids both.

type Child = Node | string | false | null | undefined;
type Properties = Record<string, boolean | number | string | ((event: never) => void) | undefined>;

/** An element with attributes, listeners (`onclick` and the like) and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") {
      made.addEventListener(name.slice(2), value as (event: Event) => void);
    } else if (typeof value === "boolean") {
      made.toggleAttribute(name, value);
    } else if (value !== undefined) {
      made.setAttribute(name, String(value));
    }
  }
  made.append(
    ...children.filter((child): child is Node | string => child instanceof Node || typeof child === "string"),
  );
  return made;
}

/** An icon of the editor's own, for eyes only. */
export function icon(name: string): HTMLElement {
  return h("span", { class: `icon icon-${name}`, "aria-hidden": "true" });
}

/** A button that is only an icon; its label is its name and its tooltip. */
export function iconButton(name: string, label: string, onclick: (event: MouseEvent) => void): HTMLButtonElement {
  return h("button", { type: "button", class: "icon-button", title: label, "aria-label": label, onclick }, icon(name));
}

/** A button with a word on it. */
export function button(label: string, onclick: (event: MouseEvent) => void, look = "secondary"): HTMLButtonElement {
  return h("button", { type: "button", class: `button ${look}`, onclick }, label);
}

/** Sets an element's text, where it is another. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) {
    element.textContent = text;
  }
}
