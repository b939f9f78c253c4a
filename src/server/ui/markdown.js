// Markdown as models write it, into DOM nodes: paragraphs, headings, lists, quotes, tables, code.
// HTML is text. What the page shows of a model goes through here or into a text node.
//
//   text --blocks()--> [{source, render}] --MarkdownView--> elements, rebuilt only where changed

import { copyButton, el } from "./dom.js";
import { highlight } from "./highlight.js";
import { renderInline } from "./markdown_inline.js";

const MAX_DEPTH = 8; // lists and quotes within each other
const MAX_COLUMNS = 64;

/** Shows a text that grows: each update builds the blocks anew that differ from those before. */
export class MarkdownView {
  constructor(container) {
    this.container = container;
    this.shown = [];
  }

  update(text) {
    const wanted = blocks(text.replaceAll("\r\n", "\n").replaceAll("\0", "\uFFFD").split("\n"), 0);
    let same = 0;
    while (same < wanted.length && same < this.shown.length && wanted[same].source === this.shown[same].source) same++;
    while (this.shown.length > same) this.shown.pop().element.remove();
    for (const block of wanted.slice(same)) {
      block.element = block.render();
      this.container.append(block.element);
      this.shown.push(block);
    }
  }
}

// The blocks of some lines: {source: what decides how it looks, render: () => element}.
function blocks(lines, depth) {
  const found = [];
  for (let i = 0; i < lines.length;) {
    const line = lines[i];
    if (!line.trim()) {
      i++;
      continue;
    }
    const block =
      fence(lines, i) ?? heading(line, i) ?? rule(line, i) ??
      (depth < MAX_DEPTH ? quote(lines, i, depth) ?? list(lines, i, depth) : null) ??
      table(lines, i) ?? paragraph(lines, i, depth);
    block.source = `${block.kind}\n${lines.slice(i, block.end).join("\n")}`;
    found.push(block);
    i = block.end;
  }
  return found;
}

function renderBlocks(parent, lines, depth) {
  for (const block of blocks(lines, depth)) parent.append(block.render());
  return parent;
}

// ---- code

const FENCE = /^( {0,3})(`{3,}|~{3,})([^`]*)$/;

function fence(lines, i) {
  const m = FENCE.exec(lines[i].slice(0, 500));
  if (!m) return null;
  const [, indent, marks, info] = m;
  let end = i + 1;
  while (end < lines.length && !closesFence(lines[end], marks)) end++;
  const code = lines.slice(i + 1, end).map((l) => stripIndent(l, indent.length)).join("\n");
  const language = info.trim().split(/\s/)[0];
  return {
    kind: end < lines.length ? "code" : "open code",
    end: Math.min(end + 1, lines.length),
    render: () => codeBlock(code, language),
  };
}

function closesFence(line, marks) {
  const text = line.trim();
  return text.length >= marks.length && /^ {0,3}\S/.test(line) && text === marks[0].repeat(text.length);
}

function codeBlock(code, language) {
  const shown = highlight(el("code"), code, language);
  return el("div", { class: "code" },
    el("div", { class: "code-head" }, el("span", { text: language.slice(0, 30) || "text" }), copyButton(() => code, "Copy code")),
    el("pre", { tabindex: "0", "aria-label": "Code" }, shown));
}

function stripIndent(line, n) {
  let i = 0;
  while (i < n && line[i] === " ") i++;
  return line.slice(i);
}

// ---- one line

function heading(line, i) {
  const m = /^ {0,3}(#{1,6})(?=\s|$)/.exec(line);
  if (!m) return null;
  let text = line.slice(m[0].length).trim();
  let end = text.length;
  while (end > 0 && text[end - 1] === "#") end--;
  if (end === 0 || /\s/.test(text[end - 1])) text = text.slice(0, end).trimEnd();
  return { kind: "heading", end: i + 1, render: () => inline(`h${Math.min(m[1].length + 1, 6)}`, text) };
}

function rule(line, i) {
  const marks = line.replace(/[ \t]/g, "");
  const isRule = marks.length >= 3 && "-*_".includes(marks[0]) && marks === marks[0].repeat(marks.length) && !/^ {4}/.test(line);
  return isRule ? { kind: "rule", end: i + 1, render: () => el("hr") } : null;
}

function inline(tag, text) {
  const e = el(tag);
  renderInline(e, text);
  return e;
}

// ---- quotes and lists

const QUOTE = /^ {0,3}> ?/;

function quote(lines, i, depth) {
  if (!QUOTE.test(lines[i])) return null;
  let end = i + 1;
  while (end < lines.length && QUOTE.test(lines[end])) end++;
  const inside = lines.slice(i, end).map((l) => l.replace(QUOTE, ""));
  return { kind: "quote", end, render: () => renderBlocks(el("blockquote"), inside, depth + 1) };
}

// {indent, width, bullet, start}: `width` is where the text of the item begins.
function marker(line) {
  const m = /^( {0,3})(?:([-*+])|(\d{1,9})([.)]))(?: {1,4}(?=\S)|\s|$)/.exec(line);
  if (!m) return null;
  return { indent: m[1].length, width: m[0].length, bullet: m[2] ?? m[4], start: m[3] === undefined ? -1 : Number(m[3]) };
}

const indentOf = (line) => line.length - line.trimStart().length;

function list(lines, i, depth) {
  const first = marker(lines[i]);
  if (!first || rule(lines[i], i)) return null;
  const items = [];
  let isLoose = false, end = i;
  while (end < lines.length) {
    const m = marker(lines[end]);
    if (!m || m.bullet !== first.bullet || (m.start < 0) !== (first.start < 0) || rule(lines[end], end)) break;
    const item = [lines[end].slice(m.width)];
    let k = end + 1, blanks = 0;
    for (; k < lines.length; k++) {
      const line = lines[k];
      if (!line.trim()) {
        blanks++;
        item.push("");
      } else if (indentOf(line) >= m.width || (blanks === 0 && indentOf(line) > m.indent && !marker(line))) {
        item.push(stripIndent(line, m.width));
        blanks = 0;
      } else if (blanks === 0 && !startsBlock(line, depth) && !marker(line)) {
        item.push(line); // a lazy continuation
      } else {
        break;
      }
    }
    while (item.length > 1 && item[item.length - 1] === "") item.pop();
    if (item.includes("") || (k < lines.length && blanks > 0 && marker(lines[k]))) isLoose = true;
    items.push(item);
    end = k;
    if (blanks > 1 && !(k < lines.length && marker(lines[k]))) break;
  }
  while (end > i + 1 && !lines[end - 1].trim()) end--;
  return { kind: "list", end, render: () => listElement(items, first.start, isLoose, depth) };
}

function listElement(items, start, isLoose, depth) {
  const e = start < 0 ? el("ul") : el("ol", { start: start === 1 ? null : start });
  for (const lines of items) {
    const task = /^\[([ xX])\]\s/.exec(lines[0]);
    const li = el("li", { class: task ? "task" : null });
    if (task) {
      li.append(el("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": task[1] === " " ? "to do" : "done" }));
      lines[0] = lines[0].slice(task[0].length);
    }
    renderBlocks(li, lines, depth + 1);
    if (!isLoose) for (const p of [...li.children]) if (p.tagName === "P") p.replaceWith(...p.childNodes);
    e.append(li);
  }
  return e;
}

// ---- tables

// The cells of a row: "|" within backticks or behind a backslash does not part.
function cells(line) {
  const row = [];
  let cell = "", ticks = false;
  const text = line.trim();
  for (let i = text.startsWith("|") ? 1 : 0; i < text.length; i++) {
    const c = text[i];
    if (c === "\\" && text[i + 1] === "|") cell += text[++i];
    else if (c === "|" && !ticks) {
      row.push(cell.trim());
      cell = "";
    } else {
      if (c === "`") ticks = !ticks;
      cell += c;
    }
  }
  if (cell.trim() || !text.endsWith("|")) row.push(cell.trim());
  return row;
}

function alignments(line) {
  if (!line || !line.includes("-") || !/^[\s|:-]+$/.test(line)) return null;
  const row = cells(line);
  if (!row.every((c) => /^:?-+:?$/.test(c))) return null;
  return row.map((c) => (c.endsWith(":") ? (c.startsWith(":") ? "center" : "right") : null));
}

function table(lines, i) {
  if (!lines[i].includes("|")) return null;
  const align = alignments(lines[i + 1]);
  if (!align || align.length > MAX_COLUMNS) return null;
  const head = cells(lines[i]);
  if (head.length !== align.length) return null;
  let end = i + 2;
  while (end < lines.length && lines[end].trim() && lines[end].includes("|")) end++;
  const rows = lines.slice(i + 2, end).map(cells);
  return { kind: "table", end, render: () => tableElement(head, align, rows) };
}

function tableElement(head, align, rows) {
  const row = (tag, texts) => {
    const tr = el("tr");
    align.forEach((a, k) => {
      const cell = inline(tag, texts[k] ?? "");
      if (a) cell.className = a;
      tr.append(cell);
    });
    return tr;
  };
  return el("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" },
    el("table", {}, el("thead", {}, row("th", head)), el("tbody", {}, ...rows.map((r) => row("td", r)))));
}

// ---- paragraphs

// True if the line ends the paragraph before it.
function startsBlock(line, depth) {
  if (FENCE.test(line.slice(0, 500)) || heading(line, 0) || rule(line, 0)) return true;
  if (depth >= MAX_DEPTH) return false;
  const m = marker(line);
  return QUOTE.test(line) || (m !== null && line.length > m.width && (m.start < 0 || m.start === 1));
}

function paragraph(lines, i, depth) {
  let end = i + 1;
  while (end < lines.length && lines[end].trim() && !startsBlock(lines[end], depth) && !(lines[end].includes("|") && alignments(lines[end + 1]))) end++;
  const text = lines.slice(i, end).map((l) => l.trimStart()).join("\n").trimEnd();
  return { kind: "paragraph", end, render: () => inline("p", text) };
}
