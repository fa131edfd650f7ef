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
