// What the service has told, put together: `snapshot` replaces, `change` merges.

const LISTS = {
  actors: { rows: "actors", id: (row) => row.id },
  recent: { rows: "takedowns", id: (row) => row.takedownId },
};

export class Model {
  views = {};
  at = null;

  /** One message; `asked` is what the stream was asked for, and is kept with the lists. */
  apply(kind, { at, views }, asked) {
    this.at = at;
    if (kind === "snapshot") {
      for (const name of asked.views) this.views[name] = views[name] ?? null;
    } else {
      for (const [name, value] of Object.entries(views)) {
        if (name in LISTS) this.views[name] = merged(LISTS[name], this.views[name], value);
        else this.views[name] = value;
      }
    }
    if ("actors" in views) this.views.actors.offset = asked.offset;
  }
}

function merged({ rows, id }, before, { total, order, changed, next }) {
  const known = new Map((before?.[rows] ?? []).map((row) => [id(row), row]));
  for (const row of changed) known.set(id(row), row);
  return { total, next, [rows]: order.map((each) => known.get(each)).filter(Boolean) };
}
