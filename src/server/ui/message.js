// One message on the page, and how it changes while an answer comes.

import { copyButton, el, icon, ICONS } from "./dom.js";
import { MarkdownView } from "./markdown.js";

function action(label, path, onClick) {
  return el("button", { type: "button", class: "tiny", "aria-label": label, title: label, on: { click: onClick } }, icon(path));
}

/** What somebody wrote. `onEdit(text)` is called with the new text. */
export function userMessage(message, onEdit) {
  const root = el("article", { class: "user", "aria-label": "You" });
  const show = () => {
    const edit = onEdit ? action("Edit and send again", ICONS.edit, () => root.replaceChildren(editor(message.content, onEdit, show))) : null;
    edit?.classList.add("edit");
    root.replaceChildren(
      el("div", { class: "bubble", dir: "auto", text: message.content }),
      el("div", { class: "actions" }, edit, copyButton(() => message.content, "Copy message")));
  };
  show();
  return root;
}

function editor(text, onDone, onCancel) {
  const area = el("textarea", { "aria-label": "Edit the message", rows: String(Math.min(12, text.split("\n").length + 1)) });
  area.value = text;
  const done = () => area.value.trim() && onDone(area.value);
  area.addEventListener("keydown", (e) => {
    if (e.key === "Escape") {
      e.stopPropagation();
      onCancel();
    } else if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
      e.preventDefault();
      done();
    }
  });
  setTimeout(() => area.focus());
  return el("div", { class: "editor" }, area,
    el("div", { class: "row" }, el("span", { class: "grow" }),
      el("button", { type: "button", class: "plain", text: "Cancel", on: { click: onCancel } }),
      el("button", { type: "button", class: "primary", text: "Send", on: { click: done } })));
}

/** An answer: thinking folded, text as Markdown, what it took. */
export class AnswerView {
  constructor(message, { onAgain }) {
    this.message = message;
    this.onAgain = onAgain;
    this.thinkingText = el("div", { class: "thinking-text", dir: "auto" });
    this.thinkingTitle = el("span");
    this.thinking = el("details", { class: "thinking" }, el("summary", {}, this.thinkingTitle), this.thinkingText);
    this.body = el("div", { class: "markdown", dir: "auto" });
    this.note = el("p", { class: "error", role: "alert" });
    this.foot = el("div", { class: "actions" });
    this.root = el("article", { class: "answer", "aria-label": "Answer" }, this.thinking, this.body, this.note, this.foot);
    this.thoughts = new MarkdownView(this.thinkingText);
    this.text = new MarkdownView(this.body);
    // Thoughts are laid out when somebody looks at them.
    this.thinking.addEventListener("toggle", () => this.update());
    this.update();
  }

  /** Show the message as it is now. */
  update() {
    const m = this.message;
    this.thinking.hidden = !m.reasoning;
    if (m.reasoning) {
      const isThinking = m.isRunning && !m.content;
      this.thinkingTitle.textContent = isThinking ? "Thinking" : m.thoughtFor ? `Thought for ${duration(m.thoughtFor)}` : "Thoughts";
      this.thinking.classList.toggle("busy", Boolean(isThinking));
      if (this.thinking.open) this.thoughts.update(m.reasoning);
    }
    this.text.update(m.content);
    this.root.classList.toggle("running", Boolean(m.isRunning));
    this.root.classList.toggle("pending", Boolean(m.isRunning && !m.content && !m.reasoning));
    this.note.hidden = !m.error;
    this.note.textContent = m.error ?? "";
    if (this.wasRunning !== m.isRunning) this.finish();
    this.wasRunning = m.isRunning;
  }

  finish() {
    const m = this.message;
    if (m.isRunning) {
      this.foot.replaceChildren();
      return;
    }
    this.foot.replaceChildren(
      ...[m.content ? copyButton(() => m.content, "Copy answer") : null,
        this.onAgain ? action("Answer again", ICONS.again, this.onAgain) : null,
        el("span", { class: "facts", text: facts(m) })].filter(Boolean));
    this.foot.children[this.onAgain && m.content ? 1 : 0]?.classList.toggle("again", Boolean(this.onAgain));
  }
}

function duration(s) {
  return s < 10 ? `${s.toFixed(1)} s` : s < 90 ? `${Math.round(s)} s` : `${Math.round(s / 60)} min`;
}

function facts(m) {
  const words = [];
  if (m.finish === "stopped") words.push("stopped");
  if (m.finish === "length") words.push("cut at the longest length");
  if (m.tokens) words.push(`${m.tokens.toLocaleString("en")} tokens`);
  if (m.rate) words.push(`${m.rate.toFixed(m.rate < 100 ? 1 : 0)} tokens/s`);
  if (m.firstAfter) words.push(`first after ${m.firstAfter < 1 ? `${Math.round(1000 * m.firstAfter)} ms` : duration(m.firstAfter)}`);
  return words.join(" · ");
}
