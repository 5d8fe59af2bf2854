// Keeps a page fresh. Everything works without it: it only reloads what the server has rendered,
// and never changes what a person is about to say yes to under their finger.
(() => {
  "use strict";
  const main = document.getElementById("main");
  const news = document.getElementById("news");

  const left = () => {
    for (const one of document.querySelectorAll("[data-until]")) {
      const seconds = Math.ceil((Date.parse(one.dataset.until) - Date.now()) / 1000);
      if (Number.isNaN(seconds)) continue;
      const minutes = Math.floor(seconds / 60);
      const words = minutes >= 60
        ? `${Math.floor(minutes / 60)} h ${minutes % 60} min`
        : minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
      one.textContent = seconds > 0 ? `in ${words}` : "time is over";
    }
  };
  setInterval(left, 1000);
  left();

  if (!("place" in main.dataset) || !window.EventSource) return;

  const keyOf = (field) => `${field.form ? field.form.getAttribute("action") : ""} ${field.name}`;
  const fields = (root) => root.querySelectorAll("textarea, select, input:not([type=hidden])");
  const isTyped = (field) => field.type === "checkbox"
    ? field.checked !== field.defaultChecked
    : field.tagName === "SELECT"
      ? [...field.options].some((option) => option.selected !== option.defaultSelected)
      : field.value !== field.defaultValue;

  const carryOver = (before, after) => {
    const typed = new Map();
    for (const field of fields(before)) {
      if (isTyped(field)) typed.set(keyOf(field), field);
    }
    for (const field of fields(after)) {
      const old = typed.get(keyOf(field));
      if (!old) continue;
      if (field.type === "checkbox") field.checked = old.checked;
      else field.value = old.value;
    }
    for (const open of before.querySelectorAll("details[id]")) {
      const now = after.querySelector(`details[id="${CSS.escape(open.id)}"]`);
      if (now) now.open = open.open;
    }
  };

  const planIsOld = (plan) => {
    if (plan.classList.contains("is-old")) return;
    plan.classList.add("is-old");
    plan.querySelector(".changed").hidden = false;
    for (const button of plan.querySelectorAll(".decide button")) button.disabled = true;
    news.textContent = "The plan has changed. Read the new one before you decide.";
  };

  // A section as the server has rendered it, but for how long ago things are.
  const likeness = (section) => {
    const copy = section.cloneNode(true);
    for (const time of copy.querySelectorAll("time")) {
      time.removeAttribute("title");
      time.textContent = time.dateTime;
    }
    for (const one of copy.querySelectorAll("[data-until]")) one.textContent = "";
    return copy.innerHTML;
  };
  const sections = (root) => [...root.querySelectorAll("section[id]")];
  const known = new Map(sections(main).map((section) => [section.id, likeness(section)]));

  // Sections that are as before stay as they are, with what is typed and open in them. So does a
  // plan on which somebody may be deciding; it is marked as old.
  const replace = (text) => {
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    if (!fresh || !("place" in fresh.dataset)) return false;
    const top = sections(main).find((section) => section.getBoundingClientRect().bottom > 0);
    const anchor = top && { id: top.id, at: top.getBoundingClientRect().top };
    const plan = main.querySelector("[data-plan]");
    const newPlan = fresh.querySelector("#plan");
    const changed = plan && plan.querySelector(".decide") && newPlan
      && newPlan.dataset.plan !== plan.dataset.plan;
    const said = main.querySelector("#said");
    const where = document.activeElement;
    const focus = main.contains(where) && where !== main
      ? { node: where, id: where.id, key: where.name ? keyOf(where) : "",
          start: where.selectionStart, end: where.selectionEnd }
      : null;
    carryOver(main, fresh);
    for (const section of sections(fresh)) {
      const now = likeness(section);
      const before = document.getElementById(section.id);
      if (section === newPlan && changed) section.replaceWith(plan);
      else if (before && known.get(section.id) === now) section.replaceWith(before);
      known.set(section.id, now);
    }
    if (said) fresh.prepend(said);
    main.replaceChildren(...fresh.childNodes);
    main.dataset.place = fresh.dataset.place;
    if (changed) planIsOld(plan);
    const back = anchor && document.getElementById(anchor.id);
    if (back) scrollBy(0, back.getBoundingClientRect().top - anchor.at);
    if (focus) {
      const again = (focus.node.isConnected && focus.node)
        || (focus.id && document.getElementById(focus.id))
        || [...fields(main)].find((field) => field.name && keyOf(field) === focus.key);
      if (again) {
        again.focus({ preventScroll: true });
        if (typeof focus.start === "number" && again.setSelectionRange) {
          try { again.setSelectionRange(focus.start, focus.end); } catch { /* not a text field */ }
        }
      }
    }
    left();
    return !changed;
  };

  let wanted = Number(main.dataset.place);
  let busy = false;
  const refresh = async () => {
    if (busy || wanted <= Number(main.dataset.place)) return;
    busy = true;
    try {
      const address = location.pathname;
      const answer = await fetch(address, { headers: { Accept: "text/html" }, redirect: "error" });
      if (answer.ok && replace(await answer.text())) {
        news.textContent = "Updated just now.";
        setTimeout(() => { if (news.textContent === "Updated just now.") news.textContent = ""; }, 3000);
      }
    } catch {
      news.textContent = "Not live: this page may be old.";
    } finally {
      busy = false;
    }
    // a storm is shown at most every two seconds
    if (wanted > Number(main.dataset.place)) setTimeout(refresh, 2000);
  };

  // A page that nobody looks at does not listen: a browser has six connections for all its tabs.
  // The first word on a new stream says where the journal is now, so nothing is missed meanwhile.
  const address = `/live?incident=${encodeURIComponent(main.dataset.incident)}`;
  const shortest = 5000;
  const longest = 30000;
  let stream = null;
  let pause = shortest;
  let later = 0;

  const hush = () => {
    clearTimeout(later);
    later = 0;
    if (stream) stream.close();
    stream = null;
  };
  // A stream that was refused does not say why.
  const why = async () => {
    const asked = new AbortController();
    try {
      const { status } = await fetch(address, { signal: asked.signal });
      if (status === 401) news.textContent = "Not live: log in again, in this tab or another.";
    } catch { /* nobody answers: that has been said */ } finally {
      asked.abort();
    }
  };
  const listen = () => {
    if (stream || document.hidden) return;
    clearTimeout(later);
    later = 0;
    stream = new EventSource(address);
    stream.onmessage = (event) => {
      const seq = JSON.parse(event.data).seq;
      pause = shortest;
      if (news.textContent.startsWith("Not live")) news.textContent = "";
      if (seq > wanted) { wanted = seq; setTimeout(refresh, busy ? 2000 : 100); }
    };
    stream.onerror = () => {
      news.textContent = "Not live: this page may be old.";
      if (stream.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      hush();
      why();
      later = setTimeout(listen, pause);
      pause = Math.min(2 * pause, longest);
    };
  };
  listen();
  document.addEventListener("visibilitychange", () => { if (document.hidden) hush(); else listen(); });
  addEventListener("pagehide", hush);
  addEventListener("pageshow", listen);
})();
