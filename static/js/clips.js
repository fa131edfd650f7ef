// Clips in a grid play, muted, while the pointer or the focus is on their card; not for whoever asked for less motion.
const still = matchMedia("(prefers-reduced-motion: reduce)");

function frameOf(target) {
  return target instanceof Element ? target.closest(".card")?.querySelector(".frame[data-plays]") : null;
}

function play(frame) {
  if (!frame || still.matches) return;
  const video = frame.querySelector("video");
  video.muted = true;
  video.play().then(() => frame.setAttribute("data-playing", ""), () => {});
}

function stop(frame) {
  if (!frame) return;
  frame.removeAttribute("data-playing");
  frame.querySelector("video").pause();
}

for (const [on, off] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
  document.addEventListener(on, (event) => play(frameOf(event.target)));
  document.addEventListener(off, (event) => {
    const frame = frameOf(event.target);
    if (frame && frame !== frameOf(event.relatedTarget)) stop(frame);
  });
}
