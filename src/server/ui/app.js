// The page: which conversation is shown, what runs, and what the buttons do.

import { listModels, setKey } from "./api.js";
import { byId, el, icon, ICONS } from "./dom.js";
import { generate } from "./generate.js";
import { Live } from "./live.js";
import { AnswerView, userMessage } from "./message.js";
import { bindSettings } from "./settings.js";
import * as store from "./store.js";

const settings = store.loadSettings();
const live = new Live();
const wide = matchMedia("(min-width: 1180px)");
const narrow = matchMedia("(max-width: 760px)");

let chat = null;      // the conversation that is shown
let views = [];       // of its messages
let models = [];      // of the server
let running = null;   // {controller, chat}: the answer that comes
let followsEnd = true;

// ---- conversations

function title(text) {
  const line = text.trim().split("\n", 1)[0];
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

function showList() {
  const list = store.listChats();
  byId("conversations").replaceChildren(...list.map((c) => {
    const open = el("button", { type: "button", class: "open", text: c.title || "Untitled", "aria-current": c.id === chat?.id ? "page" : null, on: { click: () => openChat(c.id) } });
    const remove = el("button", { type: "button", class: "tiny", "aria-label": `Delete “${c.title}”`, title: "Delete", on: { click: () => removeChat(c) } }, icon(ICONS.trash));
    return el("li", {}, open, remove);
  }));
}

function openChat(id) {
  if (chat?.id !== id || !running) {
    stop();
    setChat(store.loadChat(id) ?? store.newChat(settings.system));
  }
  closeSidebar();
  if (!narrow.matches) byId("input").focus();
}

function newChat() {
  stop();
  setChat(store.newChat(settings.system));
  closeSidebar();
  byId("input").focus();
}

function removeChat(entry) {
  if (!confirm(`Delete “${entry.title}”?`)) return;
  if (entry.id === chat.id) stop();
  store.removeChat(entry.id);
  if (entry.id === chat.id) setChat(store.newChat(settings.system));
  showList();
}

function setChat(next) {
  chat = next;
  history.replaceState(null, "", chat.messages.length ? `#${chat.id}` : location.pathname);
  for (const m of chat.messages) m.isRunning = false; // one that was cut by a reload
  rebuild();
  showList();
}

function viewOf(message, isLast) {
  if (message.role === "user")
    return { root: userMessage(message, (text) => editMessage(message, text)) };
  return new AnswerView(message, { onAgain: isLast ? again : null });
}

function rebuild() {
  views = chat.messages.map((m, i) => viewOf(m, i === chat.messages.length - 1));
  byId("messages").replaceChildren(...views.map((v) => v.root));
  byId("empty").hidden = chat.messages.length > 0;
  showContext();
  toEnd();
}

function showContext() {
  const last = chat.messages.findLast((m) => m.contextTokens);
  const most = models.find((m) => m.id === model())?.max_model_len;
  byId("context").textContent = last && most ? `${last.contextTokens.toLocaleString("en")} of ${most.toLocaleString("en")} tokens` : "";
}

// ---- scrolling: follow the end unless somebody scrolled up

function toEnd() {
  const box = byId("scroll");
  box.scrollTop = box.scrollHeight;
  followsEnd = true;
  byId("latest").hidden = true;
}

function watchScroll() {
  const box = byId("scroll");
  box.addEventListener("scroll", () => {
    followsEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    byId("latest").hidden = followsEnd;
  }, { passive: true });
  byId("latest").addEventListener("click", toEnd);
}

// ---- answers

function model() {
  return models.some((m) => m.id === settings.model) ? settings.model : models[0]?.id;
}

function send(text) {
  if (running || !text.trim()) return;
  if (!chat.title) chat.title = title(text);
  chat.messages.push({ role: "user", content: text });
  answer();
}

function again() {
  if (running) return;
  if (chat.messages.at(-1)?.role === "assistant") chat.messages.pop();
  answer();
}

function editMessage(message, text) {
  if (running) stop();
  chat.messages.length = chat.messages.indexOf(message);
  if (!chat.messages.length) chat.title = title(text);
  send(text);
}

function stop() {
  if (!running) return;
  const { controller } = running;
  running = null;
  controller.abort();
  showRunning();
}

async function answer() {
  const of = chat;
  const message = { role: "assistant", content: "", reasoning: "", model: model() };
  const history = of.messages.slice();
  const controller = new AbortController();
  const run = { controller };
  of.messages.push(message);
  running = run;
  rebuild();
  history.length && globalThis.history.replaceState(null, "", `#${of.id}`);
  store.saveChat(of);
  showList();
  showRunning();

  const view = views.at(-1);
  let frame = 0, saved = performance.now();
  const draw = () => {
    frame = 0;
    view.update();
    if (chat === of && followsEnd) toEnd();
    if (performance.now() - saved > 1000) {
      saved = performance.now();
      store.saveChat(of);
    }
  };
  const failure = await generate(message, {
    chat: of, history, settings, model: message.model, signal: controller.signal,
    onChange: () => { frame ||= requestAnimationFrame(draw); },
  });
  cancelAnimationFrame(frame);
  draw();
  if (store.listChats().some((c) => c.id === of.id)) store.saveChat(of);
  if (running === run) running = null;
  if (chat === of) showContext();
  showRunning();
  byId("status").textContent = message.error ?? (message.finish === "stopped" ? "Stopped" : "The answer is complete");
  if (failure?.status === 401) askForKey();
}

function showRunning() {
  const isRunning = running !== null;
  const button = byId("send");
  button.classList.toggle("running", isRunning);
  button.setAttribute("aria-label", isRunning ? "Stop" : "Send");
  button.title = isRunning ? "Stop (Esc)" : "Send (Enter)";
  button.disabled = !isRunning && (!byId("input").value.trim() || !models.length);
  byId("messages").setAttribute("aria-busy", String(isRunning));
  if (isRunning) byId("status").textContent = "Answering";
}

// ---- the message field

function fitInput() {
  const area = byId("input");
  area.rows = 1;
  const line = parseFloat(getComputedStyle(area).lineHeight);
  area.rows = Math.max(1, Math.min(10, Math.round((area.scrollHeight - 8) / line)));
  showRunning();
}

function submit() {
  const area = byId("input");
  if (running || !models.length) return;
  const text = area.value;
  area.value = "";
  fitInput();
  send(text);
}

function bindInput() {
  const area = byId("input");
  area.addEventListener("input", fitInput);
  area.addEventListener("keydown", (e) => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
      e.preventDefault();
      submit();
    } else if (e.key === "ArrowUp" && !area.value && !running) {
      const edits = byId("messages").querySelectorAll(".edit");
      if (!edits.length) return;
      e.preventDefault();
      edits[edits.length - 1].click();
    }
  });
  byId("send").addEventListener("click", () => (running ? stop() : submit()));
  byId("thinking").checked = settings.thinking !== false;
  byId("thinking").addEventListener("change", () => {
    settings.thinking = byId("thinking").checked;
    store.saveSettings(settings);
  });
}

// ---- the server: models and keys

async function connect() {
  try {
    models = await listModels();
    showModels();
    byId("banner").hidden = true;
  } catch (e) {
    if (e.status === 401) askForKey();
    else showBanner(e.message, false);
  }
  showRunning();
}

function showModels() {
  const select = byId("model");
  select.replaceChildren(...models.map((m) => el("option", { value: m.id, text: m.id })));
  select.value = model();
  select.hidden = models.length < 2;
  byId("model-name").hidden = models.length > 1;
  byId("model-name").textContent = model() ?? "";
  document.title = `${model()} – qwench`;
  byId("input").placeholder = `Message ${model()}`;
  showContext();
}

function showBanner(text, asksKey) {
  byId("banner-text").textContent = text;
  byId("key-box").hidden = !asksKey;
  byId("banner-button").textContent = asksKey ? "Use this key" : "Try again";
  byId("banner").hidden = false;
}

function askForKey() {
  const { key } = store.loadKey();
  showBanner(key ? "The server does not take this API key." : "This server asks for an API key.", true);
  byId("key").focus();
}

function bindServer() {
  setKey(store.loadKey().key);
  const go = () => {
    if (!byId("key-box").hidden) {
      const key = byId("key").value.trim();
      store.saveKey(key, store.loadKey().isKept);
      setKey(key);
      byId("key").value = "";
    }
    connect();
  };
  byId("banner-button").addEventListener("click", go);
  byId("key").addEventListener("keydown", (e) => e.key === "Enter" && go());
  byId("model").addEventListener("change", () => {
    settings.model = byId("model").value;
    store.saveSettings(settings);
    showModels();
  });
}

// ---- sidebar and panel

function openSidebar(on) {
  document.body.classList.toggle("menu-open", on);
  byId("menu").setAttribute("aria-expanded", String(on));
  place();
}

const closeSidebar = () => openSidebar(false);

function openPanel(on, keep = true) {
  document.body.classList.toggle("panel-open", on);
  byId("live").setAttribute("aria-expanded", String(on));
  if (keep && wide.matches) {
    settings.panel = on;
    store.saveSettings(settings);
  }
  live.want(on);
  place();
}

// What is off the screen takes no focus.
function place() {
  const panel = document.body.classList.contains("panel-open");
  const menu = document.body.classList.contains("menu-open");
  byId("sidebar").inert = narrow.matches && !menu;
  byId("panel").inert = !panel;
  byId("shade").hidden = !((narrow.matches && menu) || (!wide.matches && panel));
}

function bindFrame() {
  byId("new").addEventListener("click", newChat);
  byId("menu").addEventListener("click", () => openSidebar(!document.body.classList.contains("menu-open")));
  byId("live").addEventListener("click", () => openPanel(!document.body.classList.contains("panel-open")));
  byId("close-panel").addEventListener("click", () => openPanel(false));
  byId("shade").addEventListener("click", () => {
    closeSidebar();
    if (!wide.matches) openPanel(false, false);
  });
  document.addEventListener("keydown", (e) => {
    if (byId("settings").open) return;
    if (e.key === "Escape") {
      if (!byId("shade").hidden) byId("shade").click();
      else stop();
    } else if ((e.ctrlKey || e.metaKey) && !e.shiftKey && !e.altKey && e.key.toLowerCase() === "k") {
      e.preventDefault();
      newChat();
    }
  });
  const fit = () => openPanel(wide.matches && settings.panel !== false, false);
  wide.addEventListener("change", fit);
  narrow.addEventListener("change", place);
  fit();
}

store.watchFull((isFull) => {
  byId("storage-note").hidden = !isFull;
  byId("storage-note").textContent = isFull ? "This browser takes no more: new messages are lost on reload. Delete a conversation." : "";
});
addEventListener("storage", (e) => e.key === "qwench.list" && showList());
addEventListener("pagehide", () => running && store.saveChat(chat));
bindFrame();
bindInput();
bindServer();
watchScroll();
bindSettings({
  settings,
  getSystem: () => chat.system,
  setSystem: (text) => {
    chat.system = text;
    if (chat.messages.length) store.saveChat(chat);
  },
  onKey: connect,
});
setChat(store.loadChat(location.hash.slice(1)) ?? store.newChat(settings.system));
fitInput();
connect();
if (!narrow.matches) byId("input").focus();
