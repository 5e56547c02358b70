// What the pages do beyond being read: buttons that copy, and ages and lags that grow.
// Without this, nothing is missing but the comfort.
"use strict";

(() => {
  const status = document.getElementById("status");

  const copyAsSelection = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  };

  // A page that came without encryption has no clipboard of its own.
  const copy = async (node) => {
    if (navigator.clipboard) {
      try {
        await navigator.clipboard.writeText(node.textContent);
        return true;
      } catch {
        // The other way may be allowed.
      }
    }
    return copyAsSelection(node);
  };

  for (const node of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy: " + node.dataset.copy);
    button.addEventListener("click", async () => {
      const done = await copy(node);
      button.textContent = done ? "Copied" : "Press Ctrl+C";
      status.textContent = done ? node.dataset.copy + " copied" : "The text is selected: press Ctrl+C";
      setTimeout(() => { button.textContent = "Copy"; status.textContent = ""; }, 2500);
    });
    node.closest("figure").append(button);
  }

  // As span of the pages' maker has it.
  const span = (minutes) => {
    const of = (n, unit) => n + " " + unit + (n === 1 ? "" : "s");
    const hours = Math.floor(minutes / 60);
    if (minutes < 1) return "under 1 min";
    if (hours < 1) return minutes + " min";
    if (hours < 24) return hours + " h" + (minutes % 60 ? " " + minutes % 60 + " min" : "");
    const round = Math.round(minutes / 60);
    if (round < 72 && round % 24) return of(Math.floor(round / 24), "day") + " " + round % 24 + " h";
    return of(Math.round(minutes / 1440), "day");
  };

  const age = () => {
    for (const time of document.querySelectorAll("time[data-age], time[data-lag]")) {
      const minutes = Math.round((Date.now() - Date.parse(time.dateTime)) / 60000);
      const ago = time.dataset.age === undefined ? "" : " ago";
      if (minutes >= 0) time.textContent = (span(minutes) + ago).replaceAll(" ", "\u00a0");
    }
  };
  age();
  setInterval(age, 60000);
})();
