"use strict";
// The tables of the report and the CSV download.

function makeTables({
  data,
  state,
  $,
  el,
  button,
  isNumber,
  info,
  print,
  range,
  withUnit,
  feasible,
  metricBadge,
  badge,
  jump,
  choose,
  shown,
  pointByIndex,
}) {
  // ---------------------------------------------------------------- tables

  function sorted() {
    const { key, down } = state.sort;
    const value = (point) => (key === "index" || key === "code" ? point[key] : point.metrics[key]);
    const compare = (a, b) =>
      typeof a === "number" && typeof b === "number"
        ? a - b
        : String(a).localeCompare(String(b), "en", { numeric: true });
    return [...data.front].sort((a, b) => {
      const [va, vb] = [value(a) ?? null, value(b) ?? null];
      if (va === null || vb === null) return (va === null) - (vb === null) || a.index - b.index; // what is missing comes last
      return (down ? -1 : 1) * compare(va, vb) || a.index - b.index;
    });
  }

  function drawFrontTable() {
    const columns = [
      ["index", "#", ""],
      ...shown.map((metric) => [metric, info(metric).short, info(metric).unit]),
      ["code", "code", ""],
    ];
    const sortBy = (key) => {
      state.sort = {
        key,
        down: state.sort.key === key ? !state.sort.down : shown.includes(key) && info(key).direction === "max",
      };
      drawFrontTable();
      document.querySelector(`#front-table th[data-key="${CSS.escape(key)}"] button`).focus();
    };
    const heads = columns.map(([key, label, unit]) =>
      el(
        "th",
        {
          scope: "col",
          class: key === "code" ? null : "num",
          "data-key": key,
          "aria-sort": state.sort.key === key ? (state.sort.down ? "descending" : "ascending") : "none",
        },
        button(withUnit(label, unit && `(${unit})`), () => sortBy(key)),
        shown.includes(key) ? metricBadge(key) : null,
      ),
    );
    const rows = sorted().map((point) =>
      el(
        "tr",
        {
          "data-index": point.index,
          onclick: (event) => {
            if (!event.target.closest("button")) choose(point.index);
          },
        },
        el("td", { class: "num" }, jump(point.index)),
        ...shown.map((metric) =>
          el(
            "td",
            { class: "num" },
            print(metric, point.metrics[metric]),
            range(metric, point) ? el("span", { class: "interval" }, range(metric, point)) : null,
          ),
        ),
        el(
          "td",
          {},
          el("code", {}, point.code),
          " ",
          feasible(point) ? null : el("span", { class: "badge over" }, "over budget"),
        ),
      ),
    );
    $("front-table").replaceChildren(
      el("table", { class: "data" }, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)),
    );
    markSelected();
  }

  function markSelected() {
    const box = $("front-table");
    for (const row of box.querySelectorAll("tbody tr")) {
      const selected = Number(row.dataset.index) === state.point;
      row.classList.toggle("selected", selected);
      row.querySelector("button").setAttribute("aria-pressed", String(selected));
      const top = row.offsetTop - box.querySelector("thead").offsetHeight;
      const hidden = top < box.scrollTop || row.offsetTop + row.offsetHeight > box.scrollTop + box.clientHeight;
      if (selected && hidden) box.scrollTop = top - box.clientHeight / 3;
    }
  }

  // RFC 4180: CRLF between records; fields with a comma, a quote or a line break in quotes, quotes doubled
  function csv() {
    const keys = (name) => [...new Set(data.front.flatMap((point) => Object.keys(point[name])))];
    const [metrics, intervals, decisions] = [keys("metrics"), keys("intervals"), keys("decisions")];
    const quote = (value) =>
      /[",\r\n]/.test(String(value ?? "")) ? `"${String(value).replace(/"/g, '""')}"` : String(value ?? "");
    const head = [
      "index",
      "code",
      ...metrics,
      ...intervals.flatMap((name) => [`${name}_low`, `${name}_high`]),
      ...decisions,
    ];
    const rows = sorted().map((point) => [
      point.index,
      point.code,
      ...metrics.map((name) => point.metrics[name]),
      ...intervals.flatMap((name) => point.intervals[name] ?? ["", ""]),
      ...decisions.map((name) => point.decisions[name]),
    ]);
    return [head, ...rows].map((row) => row.map(quote).join(",")).join("\r\n") + "\r\n";
  }

  function downloadCsv() {
    const url = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
    el("a", { href: url, download: `${data.run.name.replace(/[^\w.-]+/g, "_")}-front.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }

  function drawPublished() {
    const metrics = shown.filter((metric) =>
      data.published.some((item) => isNumber(item.metrics[metric]) || isNumber(item.published[metric])),
    );
    const cell = (item, metric) =>
      [
        isNumber(item.metrics[metric]) &&
          el(
            "div",
            {},
            print(metric, item.metrics[metric]),
            range(metric, item) ? el("span", { class: "interval" }, range(metric, item)) : null,
          ),
        isNumber(item.published[metric]) &&
          el("div", {}, `${print(metric, item.published[metric])} `, badge("published", item.source)),
      ].filter(Boolean);
    const linked = (text) =>
      text
        .split(/(#\d+)/)
        .map((part) =>
          /^#\d+$/.test(part) && pointByIndex.has(Number(part.slice(1))) ? jump(Number(part.slice(1))) : part,
        );
    const verdict = (item) =>
      item.text
        ? linked(item.text)
        : item.dominated_by.flatMap((index) => [" ", pointByIndex.has(index) ? jump(index) : `#${index}`]);
    $("published-card").hidden = !data.published.length;
    $("published").replaceChildren(
      el(
        "table",
        { class: "data" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", { scope: "col" }, "network"),
            ...metrics.map((metric) =>
              el(
                "th",
                { scope: "col", class: "num" },
                withUnit(info(metric).short, info(metric).unit && `(${info(metric).unit})`),
                " ",
                metricBadge(metric),
              ),
            ),
            el("th", { scope: "col" }, "against this front"),
            el("th", { scope: "col" }, "source"),
          ),
        ),
        el(
          "tbody",
          {},
          ...data.published.map((item) =>
            el(
              "tr",
              {},
              el("td", {}, item.name),
              ...metrics.map((metric) => el("td", { class: "num" }, ...cell(item, metric))),
              el("td", {}, ...verdict(item)),
              el("td", { class: "muted" }, item.source),
            ),
          ),
        ),
      ),
    );
  }

  function drawProvenance() {
    const head = ["what", "origin", "how", "source"].map((name) => el("th", { scope: "col" }, name));
    $("provenance").replaceChildren(
      el(
        "table",
        { class: "data" },
        el("thead", {}, el("tr", {}, ...head)),
        el(
          "tbody",
          {},
          ...data.provenance.map((item) =>
            el(
              "tr",
              {},
              el("td", {}, item.what),
              el("td", {}, badge(item.origin)),
              el("td", {}, item.text),
              el("td", { class: "muted" }, item.source),
            ),
          ),
        ),
      ),
    );
  }

  function flash(row) {
    const rows = document.querySelectorAll("#published tbody tr");
    rows.forEach((item, i) => item.classList.toggle("flash", i === row));
    rows[row]?.scrollIntoView({ block: "center", behavior: "smooth" });
  }

  return { drawFrontTable, markSelected, drawPublished, drawProvenance, downloadCsv, flash };
}
