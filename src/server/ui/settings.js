// The dialog of settings: sampling, system prompt, key.

import { setKey } from "./api.js";
import { byId } from "./dom.js";
import * as store from "./store.js";

/** Fill the dialog when it opens, and keep what is typed. `settings` is changed in place. */
export function bindSettings({ settings, getSystem, setSystem, onKey }) {
  const dialog = byId("settings");
  const numbers = [...dialog.querySelectorAll("[data-number]")];
  let keyBefore = "";

  const fill = () => {
    const { key, isKept } = store.loadKey();
    byId("system").value = getSystem();
    for (const input of numbers) input.value = settings[input.dataset.number] ?? "";
    byId("settings-key").value = keyBefore = key;
    byId("remember-key").checked = isKept;
  };

  for (const input of numbers)
    input.addEventListener("input", () => {
      if (input.value !== "" && input.validity.valid) settings[input.dataset.number] = input.valueAsNumber;
      else delete settings[input.dataset.number];
      store.saveSettings(settings);
    });
  byId("system").addEventListener("input", () => {
    settings.system = byId("system").value;
    store.saveSettings(settings);
    setSystem(settings.system);
  });
  const keepKey = () => {
    const key = byId("settings-key").value.trim();
    store.saveKey(key, byId("remember-key").checked);
    setKey(key);
  };
  byId("settings-key").addEventListener("change", keepKey);
  byId("remember-key").addEventListener("change", keepKey);
  byId("reset-settings").addEventListener("click", () => {
    for (const input of numbers) delete settings[input.dataset.number];
    store.saveSettings(settings);
    fill();
  });

  byId("open-settings").addEventListener("click", () => {
    fill();
    dialog.showModal();
  });
  byId("close-settings").addEventListener("click", () => dialog.close());
  byId("done-settings").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (e) => e.target === dialog && dialog.close()); // beside it
  dialog.addEventListener("close", () => store.loadKey().key !== keyBefore && onKey());
}
