// The live stream and its stand-in. While the stream lives, the fragments' own polling is held back; when it cannot be
// had, they ask for themselves and the stream is tried again now and then. Clocks tick between two updates.

const RETRY_MS = 30_000;
let isStreaming = false;

document.addEventListener("htmx:sse:after:connection", () => { isStreaming = true; });
document.addEventListener("htmx:sse:before:connection", (event) => {
  if (event.detail.connection.attempt > 0) isStreaming = false;
});
document.addEventListener("htmx:sse:close", () => { isStreaming = false; });
document.addEventListener("htmx:sse:error", () => { isStreaming = false; });

document.addEventListener("htmx:before:request", (event) => {
  if (isStreaming && event.detail.ctx.sourceElement.matches?.("[data-poll]")) event.preventDefault();
});

setInterval(() => {
  const stream = document.getElementById("stream");
  if (!stream || isStreaming || document.hidden || stream._htmx?.sse) return;
  htmx.ajax("GET", stream.getAttribute("hx-sse:connect"), { source: stream, swap: "none" });
}, RETRY_MS);

// An element with data-elapsed counts on from there; a morph that changes the attribute starts it again from the truth.
const seen = new WeakMap();

function elapsed(element) {
  const given = element.dataset.elapsed;
  let start = seen.get(element);
  if (!start || start.given !== given) {
    start = { given, at: performance.now() };
    seen.set(element, start);
  }
  return Number(given) + (performance.now() - start.at) / 1000;
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const rest = `${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}

function tick() {
  for (const element of document.querySelectorAll("[data-elapsed]")) {
    const seconds = elapsed(element);
    if (element instanceof HTMLProgressElement) {
      element.value = Math.min(95, (seconds * 100) / Number(element.dataset.expected));
    } else {
      element.textContent = clock(seconds);
    }
  }
  const live = document.getElementById("live");
  if (live) {
    const running = Number(live.dataset.unsettled);
    const title = document.title.replace(/^\(\d+\) /, "");
    document.title = running ? `(${running}) ${title}` : title;
  }
}

setInterval(tick, 1000);
document.addEventListener("htmx:after:swap", tick);

// What stands beside the Generate button (how long, whether the engine works) is as old as the last question. After an
// update of the page it is asked for anew, at most once in a few seconds, and never over a note that waits to be read.
const ASK_MS = 5_000;
let askedAt = -ASK_MS;
let asking = 0;

function ask() {
  asking = 0;
  const button = document.getElementById("generate");
  if (!button || button.disabled || document.hidden || document.querySelector("#send [role=alert]")) return;
  askedAt = performance.now();
  htmx.trigger(document.body, "live-changed");
}

function askSoon(event) {
  if (asking || !document.getElementById("send") || event.detail.ctx.sourceElement?.closest?.("#composer")) return;
  asking = setTimeout(ask, Math.max(300, askedAt + ASK_MS - performance.now()));
}

document.addEventListener("htmx:after:swap", askSoon);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !asking) asking = setTimeout(ask, Math.max(0, askedAt + ASK_MS - performance.now()));
});

// The words beside a card's buttons stay until they are read, or until the next press says something newer.
const SAID_MS = 8_000;
const saidSince = new Map();

function keepSaid() {
  const spoken = [...document.querySelectorAll("[hx-morph-skip-children].said")].filter((it) => it.textContent);
  const fresh = spoken.find((it) => saidSince.get(it.id)?.text !== it.textContent);
  if (!fresh) return;
  for (const other of spoken) if (other !== fresh) other.textContent = "";
  saidSince.clear();
  const mark = { text: fresh.textContent };
  saidSince.set(fresh.id, mark);
  fresh.closest(".card")?.scrollIntoView({ block: "nearest" });
  setTimeout(() => {
    if (saidSince.get(fresh.id) !== mark) return;
    saidSince.delete(fresh.id);
    const still = document.getElementById(fresh.id);
    if (still) still.textContent = "";
  }, SAID_MS);
}

document.addEventListener("htmx:after:swap", keepSaid);
