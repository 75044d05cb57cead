// Where we are is in the address, after the #, so that it can be kept, shared and gone back to.

/** `{view, id, query}` of an address such as `#/takedowns/6b1f...?outcome=TimedOut`. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view = "", id = ""] = path.split("/").map(decode);
  return { view, id, query: new URLSearchParams(query) };
}

export function address(view, id = "", query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null);
  const text = new URLSearchParams(given).toString();
  return `#/${view}${id ? `/${encodeURIComponent(id)}` : ""}${text ? `?${text}` : ""}`;
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return "";
  }
}
