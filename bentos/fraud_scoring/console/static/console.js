// The keys, the chosen row, the live list's pause. Without this script every page still works by links and forms.
"use strict";

(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const one = (selector, from = document) => from.querySelector(selector);
  const wide = window.matchMedia("(min-width: 74.01rem)");

  let chosen = null; // the id of the chosen row: elements are replaced, ids stay
  let correctable = null; // the id of the row that the last verdict was given on
  let going = false; // whether "g" was pressed just now
  let paused = false;
  let peeking = 0;

  // --- The chosen row ---

  const rows = () => all("[data-rows] [data-row]").filter((row) => row.getClientRects().length);
  const current = () => document.getElementById(chosen) || one("article[data-row]");

  function choose(row, focus = true) {
    all("[data-current]").forEach((other) => other !== row && other.removeAttribute("data-current"));
    if (!row) return;
    chosen = row.id;
    row.setAttribute("data-current", "");
    if (focus) {
      one("[data-open]", row)?.focus({ preventScroll: true });
      row.scrollIntoView({ block: "nearest" });
    }
    peek(row);
  }

  function step(by) {
    const list = rows();
    if (!list.length) return;
    const at = list.findIndex((row) => row.id === chosen);
    choose(list[at < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(Math.max(at + by, 0), list.length - 1)]);
  }

  function peek(row) {
    clearTimeout(peeking);
    const from = row.dataset.peekFrom;
    if (!from || !one("[data-peek]") || !wide.matches) return;
    // While a key is held down only the row that it stops at is loaded.
    peeking = setTimeout(() => htmx.ajax("GET", from, { target: "#peek", swap: "innerHTML" }), 90);
  }

  // --- What keys do ---

  // A key that comes before htmx has taken the form over would send it as a page of its own: it waits a moment.
  function press(button, patience = 40) {
    const taken = !window.htmx || button.form.hasAttribute("data-htmx-powered");
    if (!taken && patience) setTimeout(() => press(button, patience - 1), 25);
    else if (!button.disabled) button.click();
  }

  function judge(key) {
    const row = one("article[data-case]") || current();
    const button = row && one(`[data-verdict="${key}"]`, row);
    if (button) press(button);
    else if (row) say(one(".verdict .badge", row) ? "It has that verdict already." : "No verdict can be given here.");
  }

  function correct() {
    const row = document.getElementById(correctable) || one("article[data-case]");
    const button = row && one("[data-undo]", row);
    if (button) press(button);
  }

  function open() {
    const link = current() && one("[data-open]", current());
    if (link) link.click();
  }

  function help() {
    const dialog = document.getElementById("help");
    dialog.open ? dialog.close() : dialog.showModal();
  }

  function pause() {
    const button = one("[data-pause]");
    if (!button) return;
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    one("[data-pause-word]", button).textContent = paused ? "Paused" : "Live";
  }

  const KEYS = {
    j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
    o: open, Enter: open, f: () => judge("f"), l: () => judge("l"), u: correct,
    "/": () => document.getElementById("find")?.select(), "?": help, p: pause, r: () => location.reload(),
    g: () => { going = true; setTimeout(() => { going = false; }, 1200); },
  };

  // Who steers by voice turns single keys off: a spoken word must not become a verdict.
  const OFF = "fraud-console-keys-off";
  const keysOff = () => { try { return localStorage.getItem(OFF) === "1"; } catch { return false; } };
  all("[data-keys]").forEach((box) => {
    box.checked = !keysOff();
    box.addEventListener("change", () => { try { localStorage.setItem(OFF, box.checked ? "0" : "1"); } catch { /* private mode: for this page only */ } });
  });

  document.addEventListener("keydown", (event) => {
    const writing = event.target.closest("input:not([type=hidden]), select, textarea, [contenteditable]");
    if (writing) {
      if (event.key === "Escape") writing.blur();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || keysOff()) return;
    if (one("dialog[open]") && event.key !== "?") return;
    // What has the focus keeps its own keys.
    if (event.key === "Enter" && event.target.closest("a, button, summary")) return;
    if (event.key.startsWith("Arrow") && !one("[data-rows]")) return;
    if (going) {
      going = false;
      const link = one(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const act = Object.hasOwn(KEYS, event.key) && KEYS[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-help]")) help();
    if (event.target.closest("[data-pause]")) pause();
  });

  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("[data-rows] [data-row]");
    if (row && row.id !== chosen) choose(row, false);
  });

  // --- What htmx brings ---

  let unheard = 0;
  function say(text) {
    const said = document.getElementById("said");
    said.textContent = text;
    clearTimeout(unheard);
    unheard = setTimeout(() => { said.textContent = ""; }, 6000);
  }

  const polls = (context) => context?.sourceElement?.matches?.("[data-live], #waiting, [data-figures]");

  document.addEventListener("htmx:before:request", (event) => {
    const source = event.detail.ctx.sourceElement;
    const idle = document.hidden || (paused && source.matches("[data-live]"));
    if (polls(event.detail.ctx) && idle) event.preventDefault();
  });

  document.addEventListener("htmx:before:swap", (event) => {
    const context = event.detail.ctx;
    if (!polls(context)) return;
    const failed = context.response.status >= 400;
    document.getElementById("offline").hidden = !failed;
    if (failed) event.preventDefault(); // the list stays as it was
  });

  document.addEventListener("htmx:error", (event) => {
    if (polls(event.detail.ctx)) document.getElementById("offline").hidden = false;
    else if (event.detail.ctx) say("The service did not answer. Nothing was changed as far as this page knows.");
  });

  document.addEventListener("htmx:after:request", (event) => {
    if (event.detail.ctx.response.status < 400) document.getElementById("offline").hidden = true;
  });

  let known = new Set(rows().map((row) => row.id));
  document.addEventListener("htmx:after:swap", (event) => {
    const source = event.detail.ctx.sourceElement;
    if (source.matches?.("[data-live]")) arrived();
    all("[data-say]").forEach(judged);
    const row = document.getElementById(chosen);
    if (row && !row.hasAttribute("data-current")) choose(row, document.activeElement === document.body);
    ages();
  });

  // New rows are marked; aloud only what a person has to look at.
  function arrived() {
    const list = rows();
    const fresh = list.filter((row) => !known.has(row.id));
    fresh.forEach((row) => row.classList.add("fresh"));
    known = new Set(list.map((row) => row.id));
    const held = fresh.filter((row) => !row.classList.contains("approve")).length;
    const heard = document.getElementById("heard");
    if (held && heard) heard.textContent = `${held} new not approved`;
  }

  function judged(row) {
    say(row.dataset.say);
    row.removeAttribute("data-say");
    correctable = row.id;
    if (window.htmx) htmx.ajax("GET", "/console/queue/count", { target: "#waiting", swap: "outerHTML" });
    const list = rows();
    const at = list.indexOf(row);
    const next = row.closest("[data-advance]") && list.slice(at + 1).find((other) => !other.hasAttribute("data-done"));
    if (next && chosen === row.id && row.hasAttribute("data-done")) choose(next);
  }

  // --- Times ---

  function ages() {
    const now = Date.now();
    all("time[data-ago]").forEach((time) => {
      const seconds = Math.max(0, (now - Date.parse(time.dateTime)) / 1000);
      const [size, unit] = seconds >= 86400 ? [86400, "d"] : seconds >= 3600 ? [3600, "h"] : seconds >= 60 ? [60, "min"] : [1, "s"];
      time.textContent = `${Math.floor(seconds / size)}\u202f${unit}`;
    });
  }

  all("[data-pause]").forEach((button) => { button.hidden = false; });
  if (one("[data-advance]")) choose(rows()[0], false);
  setInterval(ages, 20000);
})();
