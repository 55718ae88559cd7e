// Lists and pages of the admin tell what has happened since they were loaded. They are complete without this.
"use strict";

const STREAM = document.currentScript.dataset.stream;
const SOON_MS = 300;
// By then, who is told of it has mostly answered.
const ONCE_MORE_MS = 2_500;
const AGAIN_MS = 30_000;

let stream = null;
let timers = [];

function later(action, ms) {
  timers.push(setTimeout(action, ms));
}

function close() {
  stream?.close();
  timers.forEach(clearTimeout);
  timers = [];
}

// `look` is called when the page is seen again and whenever something has happened, but never twice at once.
function watch(look) {
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    later(async () => {
      waiting = false;
      await look();
    }, SOON_MS);
    later(look, ONCE_MORE_MS);
  };
  const open = () => {
    close();
    waiting = false;
    stream = new EventSource(STREAM);
    stream.onmessage = soon;
    stream.onerror = () => stream.readyState === EventSource.CLOSED && later(open, AGAIN_MS);
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("offline", close);
  addEventListener("online", () => document.hidden || open());
  if (!document.hidden) open();
}

async function load() {
  const answer = await fetch(location.href, { cache: "no-store", redirect: "error" });
  return answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
}

// What a part says, but for how long ago that was.
function words(part) {
  const copy = part.cloneNode(true);
  copy.querySelectorAll("time, input[name=csrfmiddlewaretoken]").forEach((time) => time.remove());
  return copy.textContent.replace(/\s+/g, " ").trim();
}

// A list stays as it is, and says that there is more.
function watchList(changelist) {
  const bar = document.createElement("p");
  bar.className = "fresh";
  bar.setAttribute("role", "status");
  document.getElementById("changelist-form").before(bar);

  const rows = (part) =>
    new Map([...part.querySelectorAll("#result_list tbody tr")].map((row) => [row.querySelector("a")?.href, words(row)]));

  const show = (fresh) => {
    if (!document.getElementById("result_list")) return location.reload();
    const ticked = [...document.querySelectorAll("input.action-select:checked")].map((box) => box.value);
    document.getElementById("changelist-form").replaceWith(fresh.getElementById("changelist-form"));
    const boxes = document.querySelectorAll("tr input.action-select");
    if (boxes.length) window.Actions?.(boxes);
    for (const box of boxes) if (ticked.includes(box.value)) box.click();
    bar.replaceChildren();
  };

  watch(async () => {
    const fresh = await load().catch(() => null);
    if (!fresh) return;
    const shown = rows(changelist);
    const there = [...rows(fresh)];
    const added = there.filter(([row]) => !shown.has(row)).length;
    const changed = there.filter(([row, said]) => shown.has(row) && shown.get(row) !== said).length;
    const counts = [added && `${added} new`, changed && `${changed} changed`].filter(Boolean).join(", ");
    if (!counts) return bar.replaceChildren();
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${counts}: show`;
    button.addEventListener("click", () => show(fresh));
    if (bar.textContent === button.textContent) bar.firstChild.replaceWith(button);
    else bar.replaceChildren(button);
  });
}

// A page that is only read is simply kept up to date. Whoever is on it with the keyboard stays where they are.
function watchPage() {
  const said = document.createElement("p");
  said.className = "visually-hidden";
  said.setAttribute("role", "status");
  document.getElementById("content").append(said);

  watch(async () => {
    const fresh = (await load().catch(() => null))?.getElementById("content-main");
    const shown = document.getElementById("content-main");
    if (!fresh || words(fresh) === words(shown)) return;
    const place = [...shown.querySelectorAll("a, button")].indexOf(document.activeElement);
    shown.replaceWith(fresh);
    if (place >= 0) fresh.querySelectorAll("a, button")[place]?.focus({ preventScroll: true });
    said.textContent = `Updated: ${words(fresh.querySelector(".state-line"))}`;
  });
}

const changelist = document.getElementById("changelist");
const isFirstPage = !["p", "older_than"].some((name) => new URLSearchParams(location.search).has(name));
if (!changelist) watchPage();
else if (isFirstPage) watchList(changelist);
