// Keys, buttons, the stop and the live picture. A key means what the page showed when it went down: the data-* of .shown
// travel with it. Nothing is sent while the connection is lost, so that nothing old arrives when it is back.
(() => {
  const KEYS = { s: "success", f: "failure", i: "invalid", u: "undo", c: "change", d: "done", r: "refuse", "?": "help" };
  const pressed = new Map();
  const robomd = (window.robomd = { latencies: [], told });
  let seq = 0;
  let stopping = false;

  const shown = () => document.querySelector(".shown")?.dataset ?? {};
  const connected = () => window.socket?.connected && window.did_handshake;
  const typing = (target) => target.closest?.("input, textarea, select, [contenteditable=true]");
  const asking = () => document.querySelector(".q-dialog .ask input");

  const toasts = document.createElement("div");
  toasts.className = "toasts";
  toasts.setAttribute("role", "status");
  document.addEventListener("DOMContentLoaded", () => document.body.append(toasts));

  function toast(text, look, timeout = 2500) {
    const one = document.createElement("div");
    one.className = `toast ${look}`;
    one.textContent = text;
    toasts.prepend(one);
    while (toasts.children.length > 3) toasts.lastChild.remove();
    setTimeout(() => one.remove(), timeout);
  }

  // Called by the page when what was asked for is done: `number` is that of the key.
  function told(number, text, good) {
    const since = pressed.get(number);
    pressed.delete(number);
    const ms = since === undefined ? NaN : performance.now() - since;
    if (good) robomd.latencies.push({ text, ms });
    const took = good && ms < 10000 && text.startsWith("stored") ? ` (${Math.round(ms)} ms)` : "";
    toast(text + took, good ? "good" : "bad", good ? 2500 : 6000);
  }

  function act(name, value) {
    if (name === "stop") return stop();
    if (!connected()) return toast("No connection: nothing was sent.", "bad", 6000);
    const { rollout, count, request } = shown();
    seq += 1;
    pressed.set(seq, performance.now());
    emitEvent("act", { act: name, value, rollout, count, request, seq });
  }

  async function stop() {
    if (stopping) return;
    stopping = true;
    toast("STOP is being sent", "bad");
    try {
      const answer = await fetch("/stop", { method: "POST", signal: AbortSignal.timeout(4000) });
      const { stopped, said } = await answer.json();
      toast(stopped ? `Stopped: ${said}` : `NOT STOPPED: ${said} Use the emergency stop.`, stopped ? "good" : "bad", 10000);
    } catch {
      toast("NO CONNECTION: the stop was not sent. Use the emergency stop.", "bad", 20000);
    } finally {
      stopping = false;
    }
  }

  const isStop = (event) =>
    event.key === "Escape" ||
    (event.key === " " && !typing(event.target) && (shown().moving === "1" || !event.target.closest?.("button, a, [role=button]")));

  function onKey(event) {
    if (isStop(event)) {
      event.preventDefault(); // a space on a button would also press the button
      event.stopPropagation();
      if (!event.repeat) stop();
      return;
    }
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || typing(event.target) || asking()) return;
    const name = KEYS[event.key.toLowerCase()];
    if (!name) return;
    event.preventDefault();
    act(name);
  }

  document.addEventListener("keydown", onKey, true);
  document.addEventListener("keyup", (event) => event.key === " " && shown().moving === "1" && !typing(event.target) && event.preventDefault(), true);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button) act(button.dataset.act, button.dataset.value);
  });

  // One frame after the other: the next is asked for when the last has been drawn, at 10 Hz at most.
  let number = 0;
  async function look() {
    const image = document.querySelector(".live");
    if (!image || document.hidden) return;
    const note = document.querySelector(".live-note");
    try {
      const answer = await fetch(`/camera.jpg?after=${number}`, { cache: "no-store", signal: AbortSignal.timeout(3000) });
      const age = Number(answer.headers.get("X-Age"));
      if (answer.status === 200) {
        number = Number(answer.headers.get("X-Number"));
        const url = URL.createObjectURL(await answer.blob());
        image.src = url;
        await image.decode().catch(() => {});
        URL.revokeObjectURL(url);
        image.classList.add("has-picture");
      }
      const late = !Number.isFinite(age) || age > 1;
      image.classList.toggle("late", late);
      note.innerText = !number ? "no camera picture yet" : late ? `no new picture for ${age.toFixed(0)} s` : "";
    } catch {
      image.classList.add("late");
      note.innerText = "no connection: this picture is old";
    }
  }
  async function watch() {
    const begun = performance.now();
    await look();
    setTimeout(watch, Math.max(100 - (performance.now() - begun), 10));
  }
  watch();
})();
