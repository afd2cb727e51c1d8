// Draws where the fragments of this page are.
//
// Around each fragment stand two comments with its key,
// <!--cacheops KEY--> and <!--/cacheops KEY-->; what the server knows of the
// keys is in the JSON of #outlines. Without this script the page is the same,
// just without outlines.
"use strict";

(() => {
  const facts = JSON.parse(document.getElementById("outlines").textContent);
  const STEP = 3; // how far an outline keeps from one inside it, in pixels
  const LABEL = 15; // the height of a label with a little air

  // Pairs of comments, each with the fragments inside it.
  function findFragments() {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_COMMENT);
    const open = [];
    const found = [];
    while (walker.nextNode()) {
      const text = walker.currentNode.data;
      if (text.startsWith("cacheops ")) {
        const fragment = { key: text.slice(9), start: walker.currentNode, height: 0, depth: open.length };
        open.push(fragment);
        found.push(fragment);
      } else if (text.startsWith("/cacheops ") && open.length) {
        const fragment = open.pop();
        fragment.end = walker.currentNode;
        const parent = open[open.length - 1];
        if (parent) parent.height = Math.max(parent.height, fragment.height + 1);
      }
    }
    return found.filter((fragment) => fragment.end);
  }

  function rectsOf(node) {
    if (node.nodeType === Node.ELEMENT_NODE) return [node.getBoundingClientRect()];
    if (node.nodeType !== Node.TEXT_NODE || !node.data.trim()) return [];
    const range = document.createRange();
    range.selectNodeContents(node);
    return [...range.getClientRects()];
  }

  // The box around what stands between the comments. Elements are measured as
  // a whole, so that a code block that scrolls inside itself is no wider.
  function measure(fragment) {
    const rects = [];
    if (fragment.start.parentNode === fragment.end.parentNode) {
      for (let node = fragment.start.nextSibling; node !== fragment.end; node = node.nextSibling) {
        rects.push(...rectsOf(node));
      }
    } else {
      const range = document.createRange();
      range.setStartAfter(fragment.start);
      range.setEndBefore(fragment.end);
      rects.push(...range.getClientRects());
    }
    const seen = rects.filter((rect) => rect.width && rect.height);
    if (!seen.length) return null;
    const air = 1 + STEP * fragment.height;
    const room = document.documentElement.clientWidth;
    const left = Math.max(1, Math.min(...seen.map((r) => r.left)) - air);
    const right = Math.min(room - 1, Math.max(...seen.map((r) => r.right)) + air);
    const top = Math.min(...seen.map((r) => r.top)) - air;
    const bottom = Math.max(...seen.map((r) => r.bottom)) + air;
    return {
      left: left + window.scrollX,
      top: top + window.scrollY,
      width: right - left,
      height: bottom - top,
    };
  }

  // Where a label stands: the first place around its outline that is free.
  function place(box, width, taken) {
    const right = box.left + box.width - width;
    const bottom = box.top + box.height;
    const beside = [box.left + box.width + 2, box.left - width - 2];
    const atSides = beside.map((left) => [left, box.top + (box.height - LABEL) / 2]);
    const atEdges = [
      [box.left, box.top - LABEL + 2], [right, box.top - LABEL + 2],
      [box.left, bottom - 1], [right, bottom - 1],
    ];
    // What is narrower than its label would be hidden by it.
    const spots = box.width < 24 ? [...atSides.reverse(), ...atEdges] : [...atEdges, ...atSides];
    for (let down = 0; down + LABEL <= box.height; down += LABEL) {
      spots.push([box.left, box.top + down], [right, box.top + down]);
    }
    const room = document.documentElement.clientWidth;
    const fits = ([left, top]) => left >= 0 && top >= 0 && left + width <= room
      && taken.every((other) => left >= other.right || left + width <= other.left
        || top >= other.bottom || top + LABEL <= other.top);
    const [left, top] = spots.find(fits) || [Math.max(0, Math.min(box.left, room - width)), Math.max(0, box.top)];
    taken.push({ left, top, right: left + width + 1, bottom: top + LABEL });
    return { left, top };
  }

  const element = (tag, name) => Object.assign(document.createElement(tag), { className: name });
  const inPixels = (node, box) => {
    for (const [side, value] of Object.entries(box)) node.style[side] = `${value}px`;
  };
  const age = (seconds) => seconds < 1 ? "just now" : `${Math.round(seconds)} s ago`;

  // What Redis holds of a fragment.
  const held = (shared) => shared ? `; in Redis: ${{
    current: `${shared.bytes} bytes`, invalidated: `${shared.bytes} bytes, invalidated`,
    missing: "nothing", unknown: "not known",
  }[shared.state]}` : "";

  const layer = document.body.appendChild(element("div", "marks"));
  const panel = element("div", "mark-panel");
  panel.id = "mark-panel";
  panel.setAttribute("role", "tooltip");
  panel.hidden = true;
  document.body.append(panel);
  const fragments = findFragments().map((fragment) => {
    const fact = facts[fragment.key] || { name: "?", hit: true, outcome: "unknown", age: 0, depends_on: [] };
    const kind = fact.hit ? "" : " miss";
    fragment.fact = fact;
    fragment.mark = layer.appendChild(element("div", `mark${kind}`));
    fragment.label = element("button", `mark-label${kind}`);
    fragment.label.type = "button";
    fragment.label.textContent = fact.name;
    fragment.label.setAttribute("aria-describedby", panel.id);
    const show = () => showPanel(fragment);
    const hide = () => hidePanel(fragment);
    fragment.label.addEventListener("mouseenter", show);
    fragment.label.addEventListener("mouseleave", hide);
    fragment.label.addEventListener("focus", show);
    fragment.label.addEventListener("blur", hide);
    fragment.label.addEventListener("keydown", (event) => event.key === "Escape" && hide());
    return fragment;
  });
  // Labels come after all outlines, so that none is covered by one.
  fragments.forEach((fragment) => layer.append(fragment.label));

  function showPanel(fragment) {
    const { fact } = fragment;
    const title = element("b", "");
    title.textContent = fact.name;
    const list = element("ul", "");
    // The names by which fragments are reached come last, and are left out.
    const rows = fact.depends_on.filter((on) => /^\S+: /.test(on)).sort();
    list.append(...rows.map((on) => Object.assign(document.createElement("li"), { textContent: on })));
    panel.replaceChildren(title, ` – ${fact.outcome}, made ${age(fact.age)}${held(fact.shared)}`, list);
    panel.hidden = false;
    fragment.mark.classList.add("lit");
    const at = fragment.label.getBoundingClientRect();
    const { width, height } = panel.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8));
    const below = at.bottom + 4;
    const top = below + height > window.innerHeight - 56 ? Math.max(8, at.top - height - 4) : below;
    inPixels(panel, { left: left + window.scrollX, top: top + window.scrollY });
  }

  function hidePanel(fragment) {
    panel.hidden = true;
    fragment.mark.classList.remove("lit");
  }

  function draw() {
    const boxes = fragments.map(measure);
    const widths = fragments.map((fragment) => fragment.label.offsetWidth);
    const taken = [];
    // Small ones first: they have the least choice.
    const order = fragments.map((_, at) => at).sort((a, b) => fragments[a].height - fragments[b].height);
    for (const at of order) {
      const { mark, label } = fragments[at];
      const box = boxes[at];
      mark.hidden = label.hidden = !box;
      if (!box) continue;
      inPixels(mark, box);
      inPixels(label, place(box, widths[at], taken));
    }
  }

  let asked = 0;
  const redraw = () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(draw);
  };
  new ResizeObserver(redraw).observe(document.body);
  window.addEventListener("resize", redraw);
  draw();
})();
