// Draws the page from the data that the program wrote into it. No library, no network.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const LEFT = 88, RIGHT = 64, WIDTH = 1120, PLOT = WIDTH - LEFT - RIGHT;
  const tip = document.getElementById("tip");

  // ---- words
  const bytes = (n) => {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let i = 0, v = n;
    while (Math.abs(v) >= 1000 && i < units.length - 1) { v /= 1000; ++i; }
    return (i === 0 ? v : v.toPrecision(v >= 100 ? 4 : 3)) + " " + units[i];
  };
  const seconds = (s) => {
    if (s === 0) return "0 s";
    const a = Math.abs(s);
    if (a >= 1) return (a >= 100 ? s.toFixed(0) : s.toPrecision(3)) + " s";
    if (a >= 1e-3) return (s * 1e3).toPrecision(3) + " ms";
    return (s * 1e6).toPrecision(3) + " us";
  };
  const percent = (x) => (x * 100).toFixed(x < 0.0995 || x >= 0.9995 ? 1 : 0) + " %";

  // ---- elements
  const make = (tag, attributes, ...children) => {
    const e = document.createElement(tag);
    for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
    e.append(...children.filter((c) => c !== null && c !== undefined));
    return e;
  };
  const draw = (tag, attributes, text) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const kindColour = (kind) => `var(--k-${kind}, var(--other))`;
  const laneClass = (name) =>
    /\.sm$|cores$/.test(name) ? "compute" : /^disk/.test(name) ? "read" : /2d$|2h$|^link/.test(name) ? "copy" : "other";
  const table = (heads, rows) => {
    const isNumber = (text) => /^(-|)$|^[\d.,]+( (%|[kMGT]?B|s|ms|us))?$/.test(text);
    const numeric = heads.map((_, c) => rows.length > 0 && rows.every((r) => isNumber(String(r.cells[c].text ?? r.cells[c]))));
    const cell = (tag, c, content) => {
      const e = make(tag, numeric[c] ? { class: "number" } : {});
      if (content && content.swatch) e.append(make("i", { class: "swatch", style: `background:${content.swatch}` }));
      e.append(String(content && content.text !== undefined ? content.text : content));
      if (content && content.mono) e.classList.add("mono");
      return e;
    };
    const body = rows.map((r) => make("tr", r.class ? { class: r.class } : {}, ...r.cells.map((x, c) => cell("td", c, x))));
    return make("div", { class: "scroll" },
      make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((h, c) => cell("th", c, h)))), make("tbody", {}, ...body)));
  };

  // ---- the tooltip
  const showTip = (event, ...content) => {
    tip.replaceChildren(...content);
    tip.style.visibility = "visible";
    const box = tip.getBoundingClientRect();
    const x = event.clientX + 16 + box.width > innerWidth ? event.clientX - box.width - 16 : event.clientX + 16;
    tip.style.left = Math.max(4, x) + "px";
    tip.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 6)) + "px";
  };
  const hideTip = () => { tip.style.visibility = "hidden"; };
  const kindRows = (pool) => pool.kinds.map(([kind, n]) =>
    ({ cells: [{ text: kind, swatch: kindColour(kind) }, bytes(n), percent(n / pool.peak)] }));

  // ---- time axis
  const niceStep = (span, count) => {
    const raw = span / count, power = Math.pow(10, Math.floor(Math.log10(raw)));
    return [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  };
  const timeAxis = (svg, view, top, bottom) => {
    const span = view.end - view.begin, step = niceStep(span, 8);
    for (let t = Math.ceil(view.begin / step) * step; t <= view.end + span * 1e-9; t += step) {
      const x = LEFT + (t - view.begin) / span * PLOT;
      svg.append(draw("line", { class: "grid", x1: x, x2: x, y1: top, y2: bottom }));
      svg.append(draw("text", { x, y: bottom + 15, "text-anchor": "middle" }, seconds(Math.abs(t) < step / 1e6 ? 0 : +t.toPrecision(6))));
    }
    let free = -Infinity;
    for (const p of data.phases) {
      const from = Math.max(p.start, view.begin), to = Math.min(p.end, view.end);
      if (to <= from) continue;
      const x = LEFT + (from - view.begin) / span * PLOT, wide = (to - from) / span * PLOT;
      svg.append(draw("line", { class: "phase", x1: x, x2: x, y1: top - 14, y2: bottom }));
      if (wide < p.name.length * 6.5 + 8 || x < free) continue;
      svg.append(draw("text", { x: x + 5, y: top - 4 }, p.name));
      free = x + p.name.length * 6.5 + 10;
    }
  };
  // Calls back with the time under the pointer; the line follows in all charts of the section.
  const cursors = [];
  const follow = (svg, view, top, bottom, onTime) => {
    const line = draw("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
    svg.append(line);
    cursors.push(line);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const scale = WIDTH / box.width, x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      if (x < LEFT || x > WIDTH - RIGHT) { hideTip(); cursors.forEach((c) => c.setAttribute("visibility", "hidden")); return; }
      for (const c of cursors) { c.setAttribute("x1", x); c.setAttribute("x2", x); c.setAttribute("visibility", "visible"); }
      onTime(event, view.begin + (x - LEFT) / PLOT * (view.end - view.begin), (x - LEFT) / PLOT, y);
    });
    svg.addEventListener("pointerleave", () => { hideTip(); cursors.forEach((c) => c.setAttribute("visibility", "hidden")); });
  };

  // ---- memory
  const memoryChart = (view, p) => {
    const pool = data.pools[p], curve = view.memory[p], height = 112, top = 26, bottom = top + height;
    const budgetIsNear = pool.budget > 0 && pool.budget < pool.peak * 2;
    const most = (budgetIsNear ? Math.max(pool.budget, pool.peak) : pool.peak) * 1.04;
    const y = (n) => bottom - n / most * height;
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${bottom + 24}`, role: "img", "aria-label": `memory of ${pool.name} over time, peak ${bytes(pool.peak)}` });
    timeAxis(svg, view, top, bottom);
    svg.append(draw("text", { class: "name", x: 0, y: top + 10 }, pool.name));
    svg.append(draw("text", { x: 0, y: top + 27 }, bytes(pool.peak)));
    svg.append(draw("text", { x: 0, y: top + 42 }, "at its peak"));
    svg.append(draw("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: bottom, y2: bottom }));
    const points = [];
    const bin = PLOT / curve.length;
    curve.forEach((n, i) => points.push(`${(LEFT + i * bin).toFixed(1)},${y(n).toFixed(1)}`, `${(LEFT + (i + 1) * bin).toFixed(1)},${y(n).toFixed(1)}`));
    svg.append(draw("path", { class: "memory", d: `M${LEFT},${bottom} L${points.join(" ")} L${WIDTH - RIGHT},${bottom} Z` }));
    if (budgetIsNear) {
      svg.append(draw("line", { class: "budget", x1: LEFT, x2: WIDTH - RIGHT, y1: y(pool.budget), y2: y(pool.budget) }));
      svg.append(draw("text", { class: "budget-text", x: WIDTH - RIGHT + 6, y: y(pool.budget) + 4 }, bytes(pool.budget)));
    } else if (pool.budget > 0) {
      svg.append(draw("text", { x: WIDTH - RIGHT + 6, y: top + 4 }, "of " + bytes(pool.budget)));
    }
    const peakIn = pool.peak_at >= view.begin && pool.peak_at <= view.end;
    const peakX = LEFT + (pool.peak_at - view.begin) / (view.end - view.begin) * PLOT;
    if (peakIn) svg.append(draw("circle", { class: "peak", cx: peakX, cy: y(pool.peak), r: 4.5 }));
    follow(svg, view, top, bottom, (event, time, share) => {
      const n = curve[Math.min(curve.length - 1, Math.floor(share * curve.length))];
      const near = peakIn && Math.abs(LEFT + share * PLOT - peakX) < 14;
      const head = [make("b", {}, `${pool.name}: ${bytes(near ? pool.peak : n)}`), ` at ${seconds(near ? pool.peak_at : time)}`];
      if (!near && n < pool.peak) { showTip(event, ...head); return; }
      showTip(event, ...head, make("div", { class: "soft" }, `the peak, reached in ${pool.peak_phase} by "${pool.peak_step}"`), table(["", "", ""], kindRows(pool)));
    });
    return svg;
  };

  // ---- lanes
  const laneChart = (view) => {
    const row = 26, top = 26, lanes = view.lanes, bottom = top + lanes.length * row;
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${bottom + 24}`, role: "img", "aria-label": "what each resource did over time" });
    timeAxis(svg, view, top, bottom);
    const span = view.end - view.begin;
    lanes.forEach((lane, i) => {
      const y = top + i * row + 4, h = row - 8, cls = laneClass(lane.name);
      svg.append(draw("text", { class: "name", x: 0, y: y + 13 }, lane.name));
      svg.append(draw("text", { x: WIDTH - RIGHT + 6, y: y + 13 }, percent(lane.share)));
      svg.append(draw("rect", { class: "idle", x: LEFT, y, width: PLOT, height: h }));
      if (lane.jobs) {
        for (const [start, length] of lane.jobs) {
          svg.append(draw("rect", { class: "busy " + cls, x: (LEFT + start / span * PLOT).toFixed(2), y, width: Math.max(0.4, length / span * PLOT - 0.3).toFixed(2), height: h }));
        }
        return;
      }
      // Runs of bins that are equally busy are one shape.
      const bin = PLOT / lane.busy.length;
      for (let b = 0; b < lane.busy.length;) {
        let e = b + 1;
        while (e < lane.busy.length && lane.busy[e] === lane.busy[b]) ++e;
        if (lane.busy[b] > 0) {
          const high = Math.max(1.5, h * lane.busy[b]);
          svg.append(draw("rect", { class: "busy " + cls, x: (LEFT + b * bin).toFixed(2), y: (y + h - high).toFixed(2), width: ((e - b) * bin + 0.05).toFixed(2), height: high.toFixed(2) }));
        }
        b = e;
      }
    });
    follow(svg, view, top, bottom, (event, time, share, y) => {
      const lane = lanes[Math.floor((y - top) / row)];
      if (!lane) { hideTip(); return; }
      const content = [make("b", {}, lane.name), ` at ${seconds(time)}`];
      if (lane.jobs) {
        const job = lane.jobs.find(([start, length]) => time - view.begin >= start && time - view.begin < start + length);
        content.push(make("div", {}, job ? `${data.names[job[2]]}, ${seconds(job[1])}` : "idle"));
      } else {
        content.push(make("div", {}, `busy ${percent(lane.busy[Math.min(lane.busy.length - 1, Math.floor(share * lane.busy.length))])} of the ${seconds(span / lane.busy.length)} here`));
      }
      const resource = data.resources.find((r) => r.name === lane.name);
      if (resource && resource.causes.length) {
        content.push(make("div", { class: "soft", style: "margin-top:5px" }, `idle ${seconds(resource.idle)} of the whole run:`));
        content.push(table(["", ""], resource.causes.slice(0, 4).map(([cause, s]) => ({ cells: [cause, seconds(s)] }))));
      }
      showTip(event, ...content);
    });
    return svg;
  };

  // ---- files
  const arrivalChart = () => {
    const files = data.arrivals.files, row = files.length > 60 ? 9 : 18, top = 12, bottom = top + files.length * row;
    const view = { begin: data.arrivals.begin, end: data.arrivals.end }, span = view.end - view.begin;
    const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${bottom + 24}`, role: "img", "aria-label": "when each file of the checkpoint is read" });
    timeAxis(svg, view, top, bottom);
    files.forEach((f, i) => {
      const y = top + i * row, x = LEFT + (f.first - view.begin) / span * PLOT, w = Math.max(1, (f.last - f.first) / span * PLOT);
      svg.append(draw("rect", { class: "read arrival", x, y: y + 2, width: w, height: row - 4, rx: 2, "fill-opacity": 0.85 }));
      if (row < 12) return;
      const label = `${f.file}  ${bytes(f.bytes)}`, inside = w > label.length * 6.4 + 14;
      const right = x + w + label.length * 6.4 + 8 < WIDTH - RIGHT;
      svg.append(draw("text", { x: inside ? x + 7 : right ? x + w + 6 : x - 6, y: y + row - 5, "text-anchor": inside || right ? "start" : "end", style: inside ? "fill:var(--card)" : "" }, label));
    });
    follow(svg, view, top, bottom, (event, time, share, y) => {
      const f = files[Math.floor((y - top) / row)];
      if (!f) { hideTip(); return; }
      showTip(event, make("b", {}, f.file), make("div", {}, `${bytes(f.bytes)}, read from ${seconds(f.first)} to ${seconds(f.last)}`));
    });
    return svg;
  };

  // ---- the page
  const section = (id, title, hint, ...content) => {
    const s = make("section", { id }, make("h2", {}, title), hint ? make("p", { class: "hint" }, hint) : null, ...content);
    document.querySelector("main").append(s);
    return s;
  };
  const charts = make("div");
  const buttons = make("div", { class: "views", role: "group", "aria-label": "stretch of time" });
  const showView = (index) => {
    cursors.length = 0;
    const view = data.views[index];
    [...buttons.children].forEach((b, i) => b.setAttribute("aria-pressed", String(i === index)));
    charts.replaceChildren(...data.pools.map((_, p) => memoryChart(view, p)), laneChart(view));
  };
  data.views.forEach((view, i) => {
    const button = make("button", { type: "button" }, `${view.name} · ${seconds(view.end - view.begin)}`);
    button.addEventListener("click", () => showView(i));
    buttons.append(button);
  });
  section("time", "Memory and resources over time",
    "Filled: in use or at work. Point at a curve for its bytes, at a circle for what was alive at the peak, at a lane for why it idles.",
    buttons, charts,
    make("div", { class: "legend" }, ...[["compute", "computes"], ["copy", "copies over a link"], ["read", "reads the disk"]].map(([c, t]) =>
      make("span", {}, make("i", { style: `background:var(--${c})` }), t)), make("span", {}, make("i", { style: "background:var(--grid);border:1px solid var(--line)" }), "idle")));
  showView(0);

  section("peaks", "What is alive at the peaks", null, make("div", { class: "peaks" }, ...data.pools.map((pool) => make("div", { class: "pool" },
    make("div", {}, make("b", {}, pool.name), ` ${bytes(pool.peak)}` + (pool.budget > 0 ? ` of ${bytes(pool.budget)}` : "")),
    make("div", { class: "soft" }, `reached in ${pool.peak_phase} by "${pool.peak_step}"`),
    make("div", { class: "bar" }, ...pool.kinds.map(([kind, n]) => make("i", { style: `width:${n / pool.peak * 100}%;background:${kindColour(kind)}`, title: `${kind} ${bytes(n)}` }))),
    table(["kind", "bytes", "share"], kindRows(pool)),
    make("div", { class: "soft", style: "margin-top:10px" }, "largest"),
    table(["", ""], pool.buffers.map(([name, kind, n]) => ({ cells: [{ text: name, swatch: kindColour(kind), mono: true }, bytes(n)] })))))));

  if (data.arrivals.files.length) {
    section("arrivals", "Shards arriving", "When the bytes of each file are read while loading.", arrivalChart());
  }
  if (data.help.length) section("help", "What would help", null, make("ul", {}, ...data.help.map((h) => make("li", {}, h))));
  if (data.strategies.rows.length) section("strategies", "All strategies on this machine", "Best first, each with its best parameters. Times from a sample of decode passes.",
    table(["strategy", "runtime", "fits", ...data.strategies.pools, "first token", "per token", "tokens/s", "limited by"],
      data.strategies.rows.map((r) => ({
        class: r.name === data.strategy ? "this" : r.fits ? "" : "no",
        cells: [{ text: r.name.length > 48 ? r.name.slice(0, 46) + "…" : r.name, mono: true }, r.runtime, r.fits ? "yes" : "no", ...r.peaks.map((n) => n === null ? "-" : bytes(n)),
          r.first === null ? "-" : seconds(r.first), r.token === null ? "-" : seconds(r.token),
          r.token === null ? "-" : (data.batch / r.token).toPrecision(3), r.why],
      }))));
  section("phases", "Phases", data.interval ? "Low and high: every assumed rate at an end of its interval." : null,
    table(["phase", "passes", "time", "a pass", ...(data.interval ? ["low", "high"] : [])],
      data.phases.map((p) => ({ cells: [p.name, p.passes, seconds(p.end - p.start), p.passes > 0 ? seconds((p.end - p.start) / p.passes) : "-", ...(data.interval ? [seconds(p.low), seconds(p.high)] : [])] }))));
  section("machine", "Machine and assumptions", null,
    table(["resource", "origin", "rate", "interval"], data.machine.resources.map((r) => ({ cells: r }))),
    make("ul", {}, ...data.machine.sentences.map((s) => make("li", {}, s))));
  document.documentElement.dataset.ready = "yes";
})();
