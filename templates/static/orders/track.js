// Keeps the page of an order up to date without a reload. It reads well without this too.
"use strict";

const POLL_MS = 10_000;
const STREAM_AGAIN_MS = 30_000;
const WORDS = { live: "Live", waiting: "Reconnecting", polling: "Updated every 10 seconds" };

const news = document.getElementById("news");
const page = () => document.getElementById("order");
let stream = null;
let timers = [];

function localise(part) {
  const format = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  for (const time of part.querySelectorAll("time[data-clock]")) {
    time.title = time.textContent;
    time.textContent = format.format(new Date(time.dateTime));
  }
}

let state = "waiting";
function show(now = state) {
  state = now;
  const live = document.getElementById("live");
  live.hidden = false;
  live.textContent = WORDS[state];
  live.dataset.state = state;
}

// Whoever is reading on with the keyboard stays where they are.
function replace(fresh) {
  const focused = page().contains(document.activeElement) && document.activeElement.getAttribute("href");
  page().replaceWith(fresh);
  localise(fresh);
  show();
  if (focused) fresh.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
}

function announce(before, after) {
  const headline = (part) => part.querySelector("h1").textContent;
  const latest = (part) => [...part.querySelectorAll(".scans li:first-child .words")].map((scan) => scan.textContent);
  const changed = latest(after).filter((words) => !latest(before).includes(words));
  news.textContent = headline(before) === headline(after) ? changed.join(". ") : headline(after);
}

async function refresh() {
  const answer = await fetch(location.pathname, { cache: "no-store" });
  if (!answer.ok) return;
  const read = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = read.getElementById("order");
  if (fresh.dataset.version === page().dataset.version) return;
  const before = page();
  replace(document.adoptNode(fresh));
  announce(before, fresh);
  document.title = read.title;
}

// One after the other: an answer that comes late must not undo a newer one.
let turn = Promise.resolve();
function look() {
  turn = turn.then(refresh).catch(() => {});
}

function later(action, ms) {
  timers.push(setTimeout(action, ms));
}

function poll() {
  show("polling");
  look();
  later(poll, POLL_MS);
}

function open() {
  close();
  stream = new EventSource(page().dataset.stream);
  stream.onopen = () => show("live");
  stream.onmessage = (message) => {
    if (message.lastEventId !== page().dataset.version) look();
  };
  stream.onerror = () => {
    if (stream.readyState !== EventSource.CLOSED) return show("waiting");
    poll();
    later(open, STREAM_AGAIN_MS);
  };
}

function close() {
  stream?.close();
  timers.forEach(clearTimeout);
  timers = [];
}

// Browsers keep few connections to a server: a tab that nobody sees gives up its own.
document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
addEventListener("pagehide", close);
addEventListener("pageshow", (event) => event.persisted && open());
// A connection whose network has gone may take minutes to notice.
addEventListener("offline", () => {
  close();
  show("waiting");
});
addEventListener("online", () => document.hidden || open());

localise(document);
show();
if (!document.hidden) open();
