"use strict";
// Draws the curves and the architecture weights; all text beside them is in the page already.

function fail(message) {
  document.documentElement.dataset.error = message;
  const box = document.getElementById("error");
  box.textContent = "This page could not be drawn: " + message;
  box.hidden = false;
}
window.addEventListener("error", (event) => fail(event.message));

(function () {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const weights = data.weights;
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const config = { responsive: true, displayModeBar: false };
  // Plotly reads a few tags in labels; names are to stay text.
  const escape = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function layout(extra) {
    const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--ink") };
    return {
      font,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 52, r: 12, t: 8, b: 40 },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      hoverlabel: { align: "left", bgcolor: css("--card"), bordercolor: css("--muted"), font },
      ...extra,
    };
  }

  function axis(title, extra) {
    const line = css("--line");
    return { title: { text: title, standoff: 6 }, gridcolor: line, linecolor: line, zeroline: false, automargin: true, ...extra };
  }

  // ----------------------------------------------------------------- curves

  const COLOURS = ["--front", "--star", "--third", "--baseline"];

  function trace(series, i, unit) {
    const marked = new Set(series.marked);
    const bars = { type: "data", array: series.errors, thickness: 1, width: 2 };
    const colour = css(COLOURS[i % COLOURS.length]);
    return {
      name: series.name,
      x: series.epochs,
      y: series.values,
      mode: series.epochs.length > 60 && !marked.size ? "lines" : "lines+markers",
      line: { color: colour, width: 2 },
      marker: {
        symbol: series.epochs.map((epoch) => (marked.has(epoch) ? "x" : "circle")),
        size: series.epochs.map((epoch) => (marked.has(epoch) ? 10 : 5)),
        color: series.epochs.map((epoch) => (marked.has(epoch) ? css("--warn") : colour)),
      },
      hovertemplate: `epoch %{x}: %{y:.4~g} ${escape(unit)}`,
      ...(series.errors.length ? { error_y: bars } : {}),
    };
  }

  function drawPanel(panel, i) {
    const several = panel.series.filter((series) => series.epochs.length).length > 1;
    const range = panel.share ? { range: [-3, 103] } : { rangemode: "normal" };
    const traces = panel.series.map((series, at) => trace(series, at, panel.unit));
    const whole = { ...(data.panels.some((each) => each.series.some((s) => s.epochs.length > 9)) ? {} : { dtick: 1 }) };
    const shape = layout({ showlegend: several, xaxis: axis("epoch", whole), yaxis: axis(escape(panel.unit), range) });
    Plotly.react("panel" + i, traces, shape, config);
  }

  // ----------------------------------------------------------------- architecture weights

  const largest = (values) => values.reduce((best, value, i) => (value > values[best] ? i : best), 0);

  /** 0 where all operations are as likely, 1 where one is certain. */
  const sureness = (values) =>
    values.length < 2 ? 1 : Math.max(0, (Math.max(...values) - 1 / values.length) / (1 - 1 / values.length));

  const channels = (text) => [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));

  function inkOn(colour) {
    const [red, green, blue] = channels(colour);
    return 0.299 * red + 0.587 * green + 0.114 * blue > 110 ? "#14181d" : "#ffffff";
  }

  function mixed(colour, share) {
    const [over, under] = [channels(colour), channels(css("--card"))];
    return `rgb(${over.map((value, i) => Math.round(share * value + (1 - share) * under[i])).join(",")})`;
  }

  /** A trace of bars for the first operation of all sites, one for the second ... */
  function bars(values, width) {
    const most = Math.max(...weights.operations.map((names) => names.length));
    const labels = (sites, op) => ({
      // Names where they fit; letters are about 7 pixels wide.
      text: sites.map((site) => {
        const name = weights.operations[site][op];
        return values[site][op] * width > 7 * name.length + 6 ? escape(name) : "";
      }),
      textposition: "inside",
      insidetextanchor: "middle",
      textangle: 0,
      insidetextfont: { size: 11, color: sites.map((site) => inkOn(weights.colours[weights.classes[site][op]])) },
    });
    return Array.from({ length: most }, (_, op) => {
      const sites = weights.sites.map((_, site) => site).filter((site) => op < weights.operations[site].length);
      const names = sites.map((site) => escape(weights.operations[site][op]));
      return {
        type: "bar",
        orientation: "h",
        y: sites,
        x: sites.map((site) => values[site][op]),
        marker: { color: sites.map((site) => weights.colours[weights.classes[site][op]]), line: { width: 0 } },
        customdata: sites.map((site, i) => [escape(weights.sites[site]), names[i]]),
        hovertemplate: "%{customdata[0]}<br>%{customdata[1]}: %{x:.3f}<extra></extra>",
        ...(weights.alike ? {} : labels(sites, op)),
        width: 0.82,
      };
    });
  }

  /** For each site and epoch the operation with the largest weight: a band of colours for each, pale to full. */
  function history() {
    const bands = weights.colours.length;
    const z = weights.sites.map((_, site) =>
      weights.values.map((values) => {
        const sure = sureness(values[site]);
        return sure > 0 ? weights.classes[site][largest(values[site])] + 0.01 + 0.98 * Math.sqrt(sure) : null;
      }),
    );
    const text = weights.sites.map((name, site) =>
      weights.values.map((values, at) => {
        const best = largest(values[site]);
        const operation = `${escape(weights.operations[site][best])}: ${values[site][best].toFixed(3)}`;
        return `${escape(name)}, epoch ${weights.epochs[at]}<br>${operation}`;
      }),
    );
    const colorscale = weights.colours.flatMap((colour, i) => [
      [i / bands, mixed(colour, 0.25)],
      [(i + 1) / bands, colour],
    ]);
    return {
      type: "heatmap", x: weights.epochs, y: weights.sites.map((_, site) => site), z, text, colorscale,
      zmin: 0, zmax: bands, showscale: false, xaxis: "x2", hovertemplate: "%{text}<extra></extra>", ygap: 1,
      xgap: weights.epochs.length > 60 ? 0 : 1,
    };
  }

  function drawWeights(at) {
    const count = weights.sites.length;
    const values = weights.values[at];
    const row = count <= 12 ? 30 : count <= 30 ? 21 : 16;
    const box = $("weights");
    box.style.height = count * row + 70 + "px";
    const sites = axis("", {
      range: [count - 0.5, -0.5],
      tickvals: weights.sites.map((_, site) => site),
      ticktext: weights.sites.map(escape),
      tickfont: { size: row > 16 ? 12 : 10.5 },
      showgrid: false,
      fixedrange: true,
    });
    const traces = bars(values, (weights.constant ? 0.85 : 0.4) * box.clientWidth);
    const shape = { barmode: "stack", showlegend: false, yaxis: sites };
    shape.xaxis = axis(`weight after epoch ${weights.epochs[at]}`, { range: [0, 1], domain: [0, 0.47], fixedrange: true });
    if (weights.constant) {
      shape.xaxis.domain = [0, 1];
    } else {
      traces.push(history());
      shape.xaxis2 = axis("largest weight, by epoch", { domain: [0.53, 1], anchor: "y", fixedrange: true, showgrid: false });
      if (weights.epochs.length < 10) shape.xaxis2.dtick = 1;
      const ends = { y0: -0.5, y1: count - 0.5, x0: weights.epochs[at] - 0.5, x1: weights.epochs[at] + 0.5 };
      shape.shapes = [{ type: "rect", xref: "x2", yref: "y", ...ends, line: { color: css("--ink"), width: 1.5 } }];
    }
    Plotly.react(box, traces, layout({ ...shape, margin: { l: 20, r: 12, t: 6, b: 44 } }), config);
  }

  // Which epoch is looked at outlives the reload; who looks at the latest one goes on to see the latest.
  const KEY = "nas-epoch";
  function remembered() {
    try {
      return Number(sessionStorage.getItem(KEY)) || 0;
    } catch {
      return 0;
    }
  }
  function remember(position) {
    try {
      if (position) sessionStorage.setItem(KEY, position);
      else sessionStorage.removeItem(KEY);
    } catch {
      // Without storage the latest epoch is shown.
    }
  }

  function choose(position) {
    const top = weights.values.length;
    const at = position >= 1 && position <= top ? position : top;
    const slider = $("epoch");
    if (slider) {
      slider.value = at;
      $("chosen").textContent = weights.epochs[at - 1];
    }
    drawWeights(at - 1);
    return at;
  }

  function follow(position) {
    const at = choose(position);
    remember(at === weights.values.length ? 0 : at);
  }

  // ----------------------------------------------------------------- how old the page is

  function showAge() {
    const age = Math.max(0, Math.round(Date.now() / 1000 - data.written));
    $("age").textContent = age < 100 ? `, ${age} s ago` : `, ${Math.round(age / 60)} min ago`;
    if (data.seconds === null || age <= Math.max(60, 5 * data.seconds)) return;
    $("stale").textContent =
      "No epoch has ended for much longer than one takes. If the search no longer runs, nas resume goes on from its " +
      "checkpoint.";
    $("stale").hidden = false;
  }

  function draw() {
    data.panels.forEach(drawPanel);
    if (weights) choose(remembered());
  }

  draw();
  if (weights && !weights.constant) {
    $("epoch").addEventListener("input", (event) => follow(Number(event.target.value)));
    $("weights").on("plotly_click", (event) => {
      const point = event.points.find((each) => each.data.type === "heatmap");
      if (point) follow(weights.epochs.indexOf(point.x) + 1);
    });
  }
  if (data.live) {
    showAge();
    setInterval(showAge, 1000);
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.documentElement.dataset.ready = "true";
})();
