// A list of any length, of which only what is in sight has elements.

import { attribute, h } from "./dom.js";

const SPARE = 6; // rows above and below

export class VirtualList {
  #rowHeight;
  #create;
  #update;
  #wanted;
  #pool = [];
  #total = 0;
  #inner = h("div.rows", { role: "presentation" });
  #resized;

  /**
   * `create()` makes a row's element, `update(element, index)` fills it, and `wanted(first, last)`
   * hears which rows are in sight.
   */
  constructor({ label, columns, create, update, wanted }) {
    this.#create = create;
    this.#update = update;
    this.#wanted = wanted;
    this.element = h("div.scroll", {
      role: "grid", tabindex: "0", "aria-label": label, "aria-colcount": columns,
    }, this.#inner);
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    this.#resized = new ResizeObserver(() => {
      this.#rowHeight = undefined;
      this.#size();
      this.draw();
    });
    this.#resized.observe(this.element);
  }

  close() {
    this.#resized.disconnect();
  }

  get #height() {
    this.#rowHeight ??= parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 32;
    return this.#rowHeight;
  }

  set total(total) {
    if (total === this.#total) return;
    this.#total = total;
    attribute(this.element, "aria-rowcount", total);
    this.#size();
  }

  #size() {
    this.#inner.style.height = `${this.#total * this.#height}px`;
  }

  /** The first and the last row that are in sight; the last may be before the first: none. */
  get range() {
    const top = this.element.scrollTop;
    const first = Math.max(0, Math.floor(top / this.#height) - SPARE);
    const last = Math.ceil((top + this.element.clientHeight) / this.#height) + SPARE;
    return [first, Math.min(this.#total - 1, last)];
  }

  draw() {
    const [first, last] = this.range;
    const many = Math.max(0, last - first + 1);
    while (this.#pool.length < many) {
      const row = this.#create();
      this.#pool.push(row);
      this.#inner.append(row);
    }
    while (this.#pool.length > many + 4 * SPARE) this.#pool.pop().remove();
    for (const row of this.#pool) row.hidden = true;
    for (let index = first; index <= last; index += 1) {
      // The same row keeps the same element while it scrolls.
      const row = this.#pool[index % this.#pool.length];
      row.hidden = false;
      row.style.transform = `translateY(${index * this.#height}px)`;
      attribute(row, "aria-rowindex", index + 1);
      this.#update(row, index);
    }
    this.#wanted(first, last);
  }

  /** Scroll so that this row is in sight. */
  reveal(index) {
    const top = index * this.#height;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + this.#height > scrollTop + clientHeight) {
      this.element.scrollTop = top + this.#height - clientHeight;
    }
  }

  /** How many rows fit. */
  get page() {
    return Math.max(1, Math.floor(this.element.clientHeight / this.#height) - 1);
  }
}
