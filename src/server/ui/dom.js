// Building elements. Text only ever becomes text nodes: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `props` are attributes, besides class, text, on ({event: handler}) and hidden. */
export function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") e.textContent = value;
    else if (name === "on") for (const [type, fn] of Object.entries(value)) e.addEventListener(type, fn);
    else e.setAttribute(name, value === true ? "" : value);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}

/** An icon of lines on a 20 x 20 grid. */
export function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "i");
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const p = document.createElementNS(SVG, "path");
  p.setAttribute("d", path);
  svg.append(p);
  return svg;
}

export const ICONS = {
  copy: "M7 7V4h9v9h-3M4 7h9v9H4z",
  check: "M4 10.5l4 4 8-9",
  again: "M15.5 7A6.5 6.5 0 1 0 16.5 11M16 3v4h-4",
  edit: "M4 16l1-4 8-8 3 3-8 8z",
  trash: "M4 6h12M8 6V4h4v2M6 6l.7 10h6.6L14 6",
};

export const byId = (id) => document.getElementById(id);

/** A small button that copies what `text()` gives and says so. */
export function copyButton(text, label = "Copy") {
  const button = el("button", { type: "button", class: "tiny", "aria-label": label, title: label }, icon(ICONS.copy));
  button.addEventListener("click", async () => {
    const done = await copy(text());
    button.replaceChildren(icon(done ? ICONS.check : ICONS.copy));
    setTimeout(() => button.replaceChildren(icon(ICONS.copy)), 1500);
  });
  return button;
}

// The clipboard interface exists on secure origins only; elsewhere the old way still works.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", { class: "hidden" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
