"use strict";
// Draws the report from the JSON in #report-data. Text from the data enters the page as text nodes only, never as HTML;
// what goes into a Plotly label is escaped first. The state of the page (selected point, view, axes) is its fragment.

window.addEventListener("error", (event) => fail(event.message));
window.addEventListener("unhandledrejection", (event) => fail(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) =>
  fail(`blocked: ${event.violatedDirective} ${event.blockedURI}`),
);

function fail(message) {
  document.documentElement.dataset.error = message;
  const box = document.getElementById("error");
  box.hidden = false;
  box.textContent = `Part of this report could not be drawn: ${message}`;
}

(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const state = { point: null, view: "front", x: null, y: null, strip: null, sort: { key: "index", down: false } };
  const pointByIndex = new Map(data.front.map((point) => [point.index, point]));

  // ---------------------------------------------------------------- small helpers

  const $ = (id) => document.getElementById(id);

  function el(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name.startsWith("--")) node.style.setProperty(name, value);
      else if (value !== null && value !== undefined && value !== false)
        node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const narrow = () => window.innerWidth < 640;
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const extent = (values) =>
    values.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]);

  function button(text, onclick, attributes) {
    return el("button", { type: "button", onclick, ...attributes }, text);
  }

  function segments(label, options, current, choose) {
    const buttons = options.map(([value, text]) =>
      button(text, () => choose(value), { "aria-pressed": String(value === current) }),
    );
    return el("span", { class: "segments", role: "group", "aria-label": label }, ...buttons);
  }

  function selectBox(label, options, current, choose) {
    const items = options.map(([value, text]) => el("option", { value, selected: value === current }, text));
    return el("label", {}, `${label} `, el("select", { onchange: (event) => choose(event.target.value) }, ...items));
  }

  function copyable(text) {
    const copy = button("Copy", async () => {
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        getSelection().selectAllChildren(copy.previousSibling);
        document.execCommand("copy");
      }
      copy.textContent = "Copied";
      setTimeout(() => {
        copy.textContent = "Copy";
      }, 1500);
    });
    return [el("code", {}, text), copy];
  }

  // ---------------------------------------------------------------- metrics: names, units, origins, numbers

  // How the costs that every network has are printed where no column says otherwise
  const common = {
    params: { label: "parameters", unit: "M", scale: 1e6, digits: 2 },
    macs: { label: "MACs", unit: "M", scale: 1e6, digits: 0 },
    latency_ms: { label: "latency", unit: "ms", scale: 1, digits: 2 },
  };

  function describe(metric) {
    const objective = data.objectives.find((item) => item.metric === metric);
    const column = data.columns.find((item) => item.metric === metric);
    const bound = data.constraints.find((item) => item.metric === metric);
    const names = [metric, column?.label, objective?.label];
    const source = data.provenance.find((item) => names.includes(item.what));
    const usual = common[metric] ?? {};
    const scale = column?.scale || usual.scale || 1;
    return {
      metric,
      label: objective?.label ?? column?.label ?? bound?.label ?? usual.label ?? metric,
      short: column?.label ?? objective?.label ?? usual.label ?? metric,
      unit: column?.unit ?? usual.unit ?? objective?.unit ?? bound?.unit ?? "",
      scale,
      digits: column?.digits ?? usual.digits ?? 2,
      direction: objective?.direction ?? (bound?.lower != null ? "max" : bound || metric in common ? "min" : null),
      origin: column?.origin ?? objective?.origin ?? source?.origin ?? "unstated",
      note: objective?.note || source?.text || "",
      upper: bound?.upper != null ? bound.upper / scale : null,
    };
  }

  const infos = new Map();
  const info = (metric) => infos.get(metric) ?? infos.set(metric, describe(metric)).get(metric);
  const objectives = data.objectives.map((item) => item.metric);
  const shown = [...new Set([...objectives, ...data.columns.map((item) => item.metric)])];

  const scaled = (metric, value) => (isNumber(value) ? value / info(metric).scale : null);
  const formats = new Map();

  function number(value, digits) {
    if (!formats.has(digits)) {
      formats.set(
        digits,
        new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
      );
    }
    return formats.get(digits).format(value);
  }

  const withUnit = (text, unit) => (unit ? `${text} ${unit}` : text);

  function print(metric, value, unit = false, extraDigits = 0) {
    if (!isNumber(value)) return "–";
    const text = number(value / info(metric).scale, info(metric).digits + extraDigits);
    return unit ? withUnit(text, info(metric).unit) : text;
  }

  function range(metric, item) {
    const interval = item.intervals[metric];
    return interval?.every(isNumber) ? `${print(metric, interval[0])} to ${print(metric, interval[1])}` : null;
  }

  const badge = (origin, title) => el("span", { class: `badge ${origin}`, title: title || null }, origin);
  const origin = (metric, item) => (item?.given?.includes(metric) ? "given" : info(metric).origin);
  const metricBadge = (metric, item) =>
    origin(metric, item) === "given" ? badge("given", item.known_from) : badge(info(metric).origin, info(metric).note);
  const misses = (item, c) =>
    c.upper != null ? item.metrics[c.metric] > c.upper : item.metrics[c.metric] < c.lower;
  const feasible = (item) => !data.constraints.some((c) => misses(item, c));

  function bigNumber(value) {
    const exact = BigInt(value).toLocaleString("en-US");
    if (exact.length <= 11) return el("span", {}, exact);
    return el("span", { title: exact }, Number(value).toExponential(2).replace("e+", "e"));
  }

  // ---------------------------------------------------------------- axes

  const yDefault = objectives.slice(0, 2).find((metric) => info(metric).direction === "max") ?? objectives[0];
  const xDefault =
    objectives.slice(0, 2).find((metric) => metric !== yDefault) ??
    ["macs", ...shown].find((metric) => metric !== yDefault && data.front.some((p) => isNumber(p.metrics[metric]))) ??
    yDefault;
  const better = (metric, a, b) => (info(metric).direction === "max" ? a > b : a < b);
  const bestOf = (metric, points) =>
    points
      .filter((p) => isNumber(p.metrics[metric]))
      .reduce((best, p) => (!best || better(metric, p.metrics[metric], best.metrics[metric]) ? p : best), null);

  // ---------------------------------------------------------------- header and key figures

  function drawHeader() {
    const facts = [
      [
        "Search space",
        [data.space.name, ": ", bigNumber(data.space.size), ` networks from ${data.space.decisions} decisions`],
      ],
      ...data.targets.flatMap((target, i) => [
        target.name !== data.targets[i - 1]?.name && [
          "Target",
          [[target.name, target.description].filter(Boolean).join(": ")],
        ],
        [
          `${target.quantity[0].toUpperCase()}${target.quantity.slice(1)} from`,
          [[target.source, target.held_out].filter(Boolean).join("; ")],
        ],
      ]),
      data.constraints.length && [
        "Budget",
        [data.constraints.map((c) => `${c.label} at ${c.upper != null ? "most" : "least"} ${budget(c)}`).join(", ")],
      ],
      ["Made", [`${data.run.created.replace("T", " ").replace(/(\+00:00|Z)$/, " UTC")} with nas ${data.run.version}`]],
    ];
    $("facts").replaceChildren(
      ...facts.filter(Boolean).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, ...value)]),
    );
    $("command").replaceChildren(...copyable(data.run.command));
    $("footer").textContent = `nas ${data.run.version}. This file needs no network. Intervals are 90 % intervals.`;
  }

  const budget = (c) =>
    c.metric in common || data.columns.some((item) => item.metric === c.metric)
      ? print(c.metric, c.upper ?? c.lower, true)
      : withUnit((c.upper ?? c.lower).toLocaleString("en-US"), c.unit);

  function drawKpis() {
    const inside = data.front.filter(feasible);
    const budgeted = data.constraints.length > 0;
    const tile = (what, value, unit, ...more) =>
      el(
        "div",
        { class: "kpi" },
        el("div", { class: "what" }, what),
        el("div", { class: "value" }, value, unit ? el("small", {}, ` ${unit}`) : null),
        el("div", { class: "more" }, ...more),
      );
    const pick = (metric, what) => {
      const point = bestOf(metric, inside);
      if (!point)
        return tile(what, "none", "", budgeted ? "no network of the front meets the budget" : "the front is empty");
      const interval = range(metric, point);
      return tile(
        what,
        print(metric, point.metrics[metric]),
        info(metric).unit,
        jump(point.index),
        " ",
        metricBadge(metric, point),
        interval ? el("div", {}, interval) : null,
      );
    };
    const tiles = [pick(yDefault, `Best ${info(yDefault).label}${budgeted ? " in budget" : ""}`)];
    if (xDefault !== yDefault && objectives.includes(xDefault)) {
      const word = info(xDefault).direction === "max" ? "Highest" : "Lowest";
      tiles.push(
        pick(
          xDefault,
          xDefault === "latency_ms" ? `Fastest${budgeted ? " in budget" : ""}` : `${word} ${info(xDefault).label}`,
        ),
      );
    }
    tiles.push(
      tile(
        "Networks on the front",
        number(data.front.length, 0),
        "",
        budgeted ? `${inside.length} meet the budget` : "",
      ),
    );
    const last = data.history.at(-1);
    const random = data.baseline_history.at(-1);
    if (last) {
      tiles.push(
        tile("Evaluations", number(last.evaluations, 0), "", `of ${bigNumber(data.space.size).textContent} networks`),
      );
      if (isNumber(last.hypervolume)) {
        tiles.push(
          tile(
            "Hypervolume",
            last.hypervolume.toPrecision(4),
            "",
            isNumber(random?.hypervolume)
              ? `random search: ${random.hypervolume.toPrecision(4)} after ${number(random.evaluations, 0)}`
              : data.objectives.some((objective) => objective.origin === "predicted")
                ? "of predicted values, larger is better"
                : "larger is better",
          ),
        );
      }
    }
    if (data.published.length) {
      const beaten = data.published.filter((item) => item.dominated_by.length).length;
      tiles.push(
        tile("Published networks dominated", `${beaten} of ${data.published.length}`, "", "by a network of the front"),
      );
    }
    $("kpis").replaceChildren(...tiles);
  }

  const jump = (index) =>
    button(`#${index}`, () => choose(index), { class: "link", title: `select network #${index}` });

  // ---------------------------------------------------------------- state: #point=3&view=all&x=macs

  const defaults = {
    point: bestOf(yDefault, data.front.filter(feasible))?.index ?? data.front[0]?.index ?? null,
    view: "front",
    x: xDefault,
    y: yDefault,
    strip: null,
  };

  function readFragment() {
    const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    const point = Number(given.point);
    return {
      ...defaults,
      ...(pointByIndex.has(point) && { point }),
      ...(given.view === "all" && { view: "all" }),
      ...(given.strip && { strip: given.strip }),
      ...(shown.includes(given.x) && { x: given.x }),
      ...(shown.includes(given.y) && { y: given.y }),
    };
  }

  function update(change) {
    const next = { ...state, ...change };
    const changed = Object.keys(defaults).filter(
      (key) => next[key] !== null && (key === "point" || next[key] !== defaults[key]),
    );
    location.hash = new URLSearchParams(changed.map((key) => [key, next[key]])).toString(); // the page follows in onhashchange
  }

  const choose = (index) => update({ point: index });

  function drawControls() {
    const axes = [...new Set([...shown, xDefault])].map((metric) => [metric, info(metric).label]);
    $("front-controls").replaceChildren(
      ...(shown.length > 2
        ? [selectBox("x", axes, state.x, (x) => update({ x })), selectBox("y", axes, state.y, (y) => update({ y }))]
        : []),
      segments(
        "range of the plot",
        [
          ["front", "Front"],
          ["all", "All evaluated"],
        ],
        state.view,
        (view) => update({ view }),
      ),
    );
  }

  function follow() {
    const before = { ...state };
    Object.assign(state, readFragment());
    if (["view", "x", "y"].some((key) => state[key] !== before[key])) {
      drawControls();
      plots.drawFront();
    } else {
      plots.drawRing();
    }
    network.draw();
    tables.markSelected();
  }

  function drawAll() {
    drawControls();
    plots.drawFront();
    network.draw();
    tables.markSelected();
    plots.drawProgress();
  }

  const page = {
    data,
    state,
    $,
    el,
    button,
    segments,
    copyable,
    css,
    escape,
    narrow,
    sum,
    extent,
    isNumber,
    info,
    scaled,
    number,
    print,
    range,
    withUnit,
    feasible,
    origin,
    metricBadge,
    badge,
    budget,
    misses,
    jump,
    choose,
    update,
    shown,
    objectives,
    better,
    yDefault,
    xDefault,
    pointByIndex,
  };
  const plots = makePlots(page);
  const network = makeNetwork(page, plots);
  const tables = makeTables(page);
  Object.assign(state, readFragment());
  drawHeader();
  drawKpis();
  tables.drawFrontTable();
  tables.drawPublished();
  tables.drawProvenance();
  drawAll();
  plots.onFrontClick((kind, key) => (kind === "point" ? choose(key) : kind === "published" && tables.flash(key)));
  $("csv").addEventListener("click", tables.downloadCsv);
  window.addEventListener("hashchange", follow);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  matchMedia("(max-width: 640px)").addEventListener("change", drawAll);
  document.documentElement.dataset.ready = "true";
})();
