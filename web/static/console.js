// What the console does better with a script: times of here, copying, the stream key in its place, pages that stay current.
// Every page works without it.

const EVERY_MS = 3000;
const FAILED_MS = 10000;
const SHORT = { dateStyle: "medium", timeStyle: "short" };
const PRECISE = { dateStyle: "medium", timeStyle: "medium" };

function localise(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.getTime())) {
      time.title = time.textContent;
      time.textContent = moment.toLocaleString([], time.closest(".timeline") ? PRECISE : SHORT);
    }
  }
}

// --- Copying ---------------------------------------------------------------------------------------------------------

async function copy(button) {
  const input = document.getElementById(button.dataset.copy);
  const form = input.closest("[data-key]");
  const text = form && !form.dataset.shown ? await streamKey(form) : input.value;
  await toClipboard(text);
  say(button, "Copied");
}

async function toClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Browsers keep that one for https and localhost; this works everywhere else.
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

// A word on the button itself, which a screen reader is told of as well.
function say(button, word) {
  button.dataset.word ??= button.textContent;
  button.textContent = word;
  button.focus();
  announce(word);
  setTimeout(() => { button.textContent = button.dataset.word; }, 2000);
}

const spoken = document.createElement("p");
spoken.className = "spoken";
spoken.setAttribute("role", "status");
function announce(text) {
  if (!spoken.isConnected) document.body.append(spoken);
  spoken.textContent = "";
  setTimeout(() => { spoken.textContent = text; }, 50);
}

// --- The stream key --------------------------------------------------------------------------------------------------

async function streamKey(form) {
  const reply = await fetch(form.action, {
    method: "POST", body: new URLSearchParams(new FormData(form)), headers: { Accept: "application/json" },
  });
  if (!reply.ok || reply.redirected) throw new Error(`stream key: ${reply.status}`);
  return (await reply.json()).key;
}

async function showKey(form) {
  const input = form.querySelector("input[readonly]");
  const button = form.querySelector("[data-show]");
  form.dataset.hidden ??= input.value;
  if (form.dataset.shown) {
    input.value = form.dataset.hidden;
    delete form.dataset.shown;
    button.textContent = "Show";
  } else {
    input.value = await streamKey(form);
    form.dataset.shown = "yes";
    button.textContent = "Hide";
  }
}

// --- Pages that stay current -----------------------------------------------------------------------------------------

// The server renders the parts again; only what is different is replaced, and the focus stays where it was.
async function refresh(holder) {
  const reply = await fetch(holder.dataset.current, { headers: { "X-By-Itself": "1" }, signal: AbortSignal.timeout(8000) });
  if (reply.redirected) return location.reload(); // signed out meanwhile: the server says how to go on
  if (!reply.ok) throw new Error(`${holder.dataset.current}: ${reply.status}`);
  const fresh = document.createElement("template");
  fresh.innerHTML = await reply.text();
  localise(fresh.content);
  for (const part of fresh.content.querySelectorAll("[data-part]")) {
    const old = document.getElementById(part.id);
    if (old) merge(old, part);
  }
}

function merge(old, fresh) {
  if (old.outerHTML === fresh.outerHTML) return;
  const rows = [...old.querySelectorAll("[id]")];
  const freshRows = [...fresh.querySelectorAll("[id]")];
  const same = rows.length > 0 && rows.length === freshRows.length && rows.every((row, i) => row.id === freshRows[i].id);
  if (!same) return replace(old, fresh);
  rows.forEach((row, i) => row.outerHTML === freshRows[i].outerHTML || replace(row, freshRows[i].cloneNode(true)));
  if (old.outerHTML !== fresh.outerHTML) replace(old, fresh);
}

function replace(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  old.replaceWith(fresh);
  if (!focused) return;
  const links = [...fresh.querySelectorAll("a[href]")];
  const again = links.find((link) => link.href === focused.href);
  again?.focus({ preventScroll: true });
}

function keepCurrent(holder) {
  let timer;
  const next = (ms) => {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(look, ms);
  };
  const look = () => refresh(holder).then(() => next(EVERY_MS), () => next(FAILED_MS));
  document.addEventListener("visibilitychange", () => next(document.hidden ? EVERY_MS : 0));
  next(EVERY_MS);
}

// --- Begin -----------------------------------------------------------------------------------------------------------

localise(document);
// On a telephone the navigation and the tabs are wider than the screen.
for (const row of document.querySelectorAll(".side ul, .tabs")) {
  const here = row.querySelector("[aria-current]");
  if (here) row.scrollLeft = here.offsetLeft - row.offsetLeft - (row.clientWidth - here.offsetWidth) / 2;
}
document.querySelectorAll("[data-current]").forEach(keepCurrent);
document.querySelectorAll("[data-copy]").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", () => copy(button).catch(() => say(button, "Failed")));
});
document.querySelectorAll("[data-key]").forEach((form) => {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    showKey(form).catch(() => form.submit());
  });
});
// Sent once, however often the button is pressed.
document.querySelectorAll("form[method=post]:not([data-key])").forEach((form) => {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
});
addEventListener("pageshow", () => document.querySelectorAll("[data-sent]").forEach((form) => delete form.dataset.sent));
