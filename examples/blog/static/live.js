// Keeps the tables of /cache up to date, and highlights what has changed.
"use strict";

(() => {
  const SHOWN_AS_CHANGED = 2500; // milliseconds
  const known = new Map(); // row -> what it said, and when that changed
  let isFirst = true;
  let isPaused = false;

  const cell = (content, name) => {
    const td = document.createElement("td");
    if (name) td.className = name;
    td.append(...[content].flat());
    return td;
  };
  const code = (text) => Object.assign(document.createElement("code"), { textContent: text });
  // What Redis holds of a fragment, in its cell; no cell without Redis.
  const held = (shared) => shared ? [cell({
    current: String(shared.bytes), invalidated: `${shared.bytes}, old`, missing: "–", unknown: "?",
  }[shared.state], "n")] : [];
  const seconds = (count) => count === null ? "–" : `${count} s`;

  // Whether a row says something else than before, or did until just now.
  function isChanged(id, says) {
    const before = known.get(id);
    if (!before || before.says !== says) {
      known.set(id, { says, at: isFirst ? -Infinity : performance.now() });
    }
    return performance.now() - known.get(id).at < SHOWN_AS_CHANGED;
  }

  function fill(table, rows, empty) {
    const body = document.querySelector(`#${table} tbody`);
    const made = rows.map(({ id, says, cells, stale }) => {
      const tr = document.createElement("tr");
      tr.classList.toggle("changed", isChanged(`${table} ${id}`, says));
      tr.classList.toggle("stale", Boolean(stale));
      tr.append(...cells);
      return tr;
    });
    if (!made.length) {
      const tr = document.createElement("tr");
      const td = cell(empty, "none");
      td.colSpan = 6;
      tr.append(td);
      made.push(tr);
    }
    body.replaceChildren(...made);
  }

  function showFragment(fragment) {
    const { key, name, bytes, made, left, current, groups } = fragment;
    const before = known.get(`fragments ${key}`)?.made;
    // When it was made is known to a few milliseconds.
    const since = Math.abs(made - before) < 100 ? before : made;
    const says = `${since} ${current} ${fragment.shared?.state}`;
    const row = {
      id: key, says, stale: !current,
      cells: [
        cell(current ? name : [name, " ", Object.assign(document.createElement("i"), { textContent: "(invalidated)" })]),
        cell(String(bytes), "n"), ...held(fragment.shared), cell(seconds(fragment.age), "n"), cell(seconds(left), "n"),
        cell(groups.flatMap(({ of, what }) => [code(`${of}: ${what.join(", ")}`), " "])),
      ],
    };
    return { row, remember: () => { known.get(`fragments ${key}`).made = since; } };
  }

  const showRequest = (request, hasRedis) => ({
    id: request.number, says: "",
    cells: [
      cell(request.path, "path"), cell(String(request.queries), "n"),
      cell(String(request.hits.length - request.shared), "n"),
      ...(hasRedis ? [cell(String(request.shared), "n")] : []),
      cell(request.missed.length ? `${request.missed.length}: ${tally(request.missed)}` : "0", "missed"),
      cell(seconds(request.ago), "n"),
    ],
  });

  const showInvalidation = (event) => ({
    id: event.number, says: "",
    cells: [
      cell(event.target + (event.whole ? ", whole" : ""), "target"), cell(String(event.rows), "n"),
      cell(String(event.schemes), "n"), cell(String(event.dropped), "n"), cell(seconds(event.ago), "n"),
    ],
  });

  // "card ×5, sidebar"
  function tally(names) {
    const counts = new Map();
    names.forEach((name) => counts.set(name, (counts.get(name) || 0) + 1));
    return [...counts].map(([name, count]) => count > 1 ? `${name} ×${count}` : name).join(", ");
  }

  function show(now) {
    if (now.line) {
      const line = document.getElementById("line");
      line.textContent = now.line.text;
      line.classList.toggle("away", !now.line.is_live);
    }
    const values = document.querySelectorAll("#counters dd");
    now.counters.forEach((counter, at) => { values[at].textContent = counter.value.toLocaleString("en"); });
    const fragments = now.fragments.map(showFragment);
    fill("fragments", fragments.map(({ row }) => row), "None yet: open a page.");
    fragments.forEach(({ remember }) => remember());
    fill("requests", now.requests.map((request) => showRequest(request, now.line)), "None yet.");
    fill("invalidations", now.invalidations.map(showInvalidation), "None yet.");
    isFirst = false;
  }

  const state = document.createElement("span");
  const pause = Object.assign(document.createElement("button"), { type: "button", textContent: "Pause" });
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.textContent = isPaused ? "Go on" : "Pause";
    state.textContent = isPaused ? "Paused." : "Updated every second.";
  });

  async function update() {
    if (isPaused || document.hidden) return;
    try {
      const answer = await fetch("/cache.json", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      show(await answer.json());
      state.textContent = "Updated every second.";
    } catch {
      state.textContent = "The site does not answer; trying again.";
    }
  }

  async function run() {
    await update();
    setTimeout(run, 1000);
  }

  const updates = document.getElementById("updates");
  updates.append(state, pause);
  updates.hidden = false;
  run();
})();
