// Elements. Whatever is text becomes a text node: nothing here ever parses markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

/** An HTML element: `h("td.number", {title: "..."}, "text", element)`. */
export function h(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  return fill(node, attributes, children);
}

/** The same for SVG. */
export function s(name, attributes, ...children) {
  const [tag, ...classes] = name.split(".");
  const node = document.createElementNS(SVG, tag);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  return fill(node, attributes, children);
}

/** Set an element's text; an unchanged one costs no layout. */
export function text(node, value) {
  const words = String(value ?? "");
  if (node.textContent !== words) node.textContent = words;
  return node;
}

/** Set or remove an attribute. */
export function attribute(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** Make the children of `parent` those of `items`, and keep the elements of those that stay. */
export function keyed(parent, items, keyOf, create, update) {
  const old = parent.keyedChildren ?? new Map();
  const now = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    if (now.has(key)) continue;
    let node = old.get(key);
    if (node === undefined) node = create(item);
    now.set(key, node);
    update(node, item);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const [key, node] of old) if (!now.has(key)) node.remove();
  parent.keyedChildren = now;
}

/** A button. */
export function button(label, action, attributes = {}, ...children) {
  const words = children.length ? children : [label];
  return h("button", { type: "button", on: { click: action }, ...attributes }, ...words);
}

/** An element with a heading. */
export function card(title, ...children) {
  return h("section.card", {}, h("h2", {}, title), ...children);
}
