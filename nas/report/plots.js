"use strict";
// The plots of the report. `makePlots` gets what it shares with the page (see the end of report.js) and returns the functions
// that draw; each can be called again after a change of the state, the colours or the size.

function makePlots({
  data,
  state,
  $,
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
  shown,
  objectives,
  yDefault,
  pointByIndex,
}) {
  // ----------------------------------------------------------------- plots: common layout

  function axis(title, extra) {
    return {
      title: { text: title, font: { size: 13 }, standoff: 8 },
      gridcolor: css("--line"),
      linecolor: css("--line"),
      zeroline: false,
      ticks: "",
      automargin: true,
      ...extra,
    };
  }

  function layout(extra) {
    return {
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--ink") },
      showlegend: true,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 56, r: 14, t: 10, b: 46 },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: css("--muted"), activecolor: css("--ink") },
      hoverlabel: {
        align: "left",
        bgcolor: css("--card"),
        bordercolor: css("--muted"),
        font: { family: getComputedStyle(document.body).fontFamily, color: css("--ink"), size: 12 },
      },
      legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom", font: { size: 12 } },
      dragmode: narrow() ? false : "zoom",
      ...extra,
    };
  }

  const config = {
    responsive: true,
    displaylogo: false,
    doubleClick: "reset",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
  };
  const plotConfig = () => ({ ...config, displayModeBar: narrow() ? false : "hover" });
  const alpha = (hex, value) =>
    hex +
    Math.round(value * 255)
      .toString(16)
      .padStart(2, "0");

  // ----------------------------------------------------------------- the front

  function errorBars(metric, items, style) {
    const side = (item, end) => {
      const interval = item.intervals[metric];
      const value = item.metrics[metric];
      if (!interval || !isNumber(interval[end]) || !isNumber(value)) return 0;
      return Math.max(0, end ? interval[1] - value : value - interval[0]) / info(metric).scale;
    };
    return {
      type: "data",
      symmetric: false,
      array: items.map((item) => side(item, 1)),
      arrayminus: items.map((item) => side(item, 0)),
      width: 0,
      thickness: 1.2,
      ...style,
    };
  }

  function hover(head, item, extra = "") {
    const lines = shown
      .filter((metric) => isNumber(item.metrics[metric]))
      .map((metric) => {
        const interval = range(metric, item);
        return `${escape(info(metric).short)} ${escape(print(metric, item.metrics[metric], true))}${interval ? ` (${interval})` : ""}, ${origin(metric, item)}`;
      });
    return [`<b>${escape(head)}</b>`, ...lines, ...(extra ? [escape(extra)] : [])].join("<br>");
  }

  const place = (item) => [scaled(state.x, item.metrics[state.x]), scaled(state.y, item.metrics[state.y])];
  const placed = (items) => items.filter((item) => place(item).every(isNumber));

  function marks(items, extra) {
    const points = items.map(place);
    return {
      type: "scatter",
      mode: "markers",
      x: points.map((p) => p[0]),
      y: points.map((p) => p[1]),
      hoverinfo: "text",
      ...extra,
    };
  }

  function cloudPoints() {
    const xs = data.cloud[state.x] ?? [];
    const ys = data.cloud[state.y] ?? [];
    return xs.map((x, i) => [scaled(state.x, x), scaled(state.y, ys[i])]).filter((p) => p.every(isNumber));
  }

  // The front, and the published networks and budgets near it, fill the plot; the cloud does so only when asked to.
  function limits(front, cloud) {
    const axes = [state.x, state.y];
    const stars = placed(data.published).map(place);
    const core = axes.map((metric, i) => {
      const ends = (item) => (item.intervals[metric] ?? []).map((value) => scaled(metric, value)).filter(isNumber);
      return extent(front.flatMap((item) => [place(item)[i], ...ends(item)]));
    });
    const near = (value, i) => {
      const slack = 0.35 * (core[i][1] - core[i][0]);
      return state.view === "all" || !isNumber(slack) || (value > core[i][0] - slack && value < core[i][1] + slack);
    };
    const added = [...stars.filter((star) => star.every(near)), ...(state.view === "all" ? cloud : [])];
    return axes.map((metric, i) => {
      const budget = [info(metric).upper].filter((value) => isNumber(value) && near(value, i));
      const all = [...core[i].filter(isNumber), ...added.map((place) => place[i]), ...budget];
      const [low, high] = all.length ? extent(all) : [0, 1];
      const pad = 0.05 * (high - low || Math.abs(high) || 1);
      return [low - pad, high + pad];
    });
  }

  // Labels of the published stars: the first of eight places where a label hides no other label and the fewest points.
  function labelPlaces(stars, front, [xs, ys]) {
    const [wide, high] = [$("front-plot").clientWidth - 70, $("front-plot").clientHeight - 110];
    const pixel = ([x, y]) => [((x - xs[0]) / (xs[1] - xs[0])) * wide, ((ys[1] - y) / (ys[1] - ys[0])) * high];
    const obstacles = [...front, ...stars]
      .map((item) => pixel(place(item)))
      .map(([x, y]) => [x - 4, y - 4, x + 4, y + 4, 1]);
    const places = [
      "middle right",
      "bottom right",
      "top right",
      "bottom center",
      "top center",
      "middle left",
      "bottom left",
      "top left",
    ];
    return stars.map((star) => {
      const [x, y] = pixel(place(star));
      const width = 6.6 * star.name.length;
      const cost = ([left, top, right, bottom]) =>
        sum(obstacles.filter((o) => o[0] < right && o[2] > left && o[1] < bottom && o[3] > top).map((o) => o[4])) +
        (right > wide || left < 0 ? 20 : 0);
      const boxes = places.map((name) => {
        const left = name.endsWith("right") ? x + 8 : name.endsWith("left") ? x - 8 - width : x - width / 2;
        const top = name.startsWith("top") ? y - 22 : name.startsWith("bottom") ? y + 6 : y - 8;
        return [left, top, left + width, top + 16, 8];
      });
      const costs = boxes.map(cost);
      const winner = costs.indexOf(Math.min(...costs));
      obstacles.push(boxes[winner]);
      return places[winner];
    });
  }

  function drawFront() {
    const [x, y] = [info(state.x), info(state.y)];
    const front = placed(data.front).sort((a, b) => place(a)[0] - place(b)[0]);
    const stars = placed(data.published);
    const cloud = cloudPoints();
    const box = limits(front, cloud);
    const isFront =
      objectives.length === 2 && objectives.includes(state.x) && objectives.includes(state.y) && state.x !== state.y;
    const steps = { shape: x.direction === "max" ? "vh" : "hv", width: 1.5, color: css("--front") };
    const traces = [
      {
        type: "scatter",
        mode: "markers",
        x: cloud.map((p) => p[0]),
        y: cloud.map((p) => p[1]),
        hoverinfo: "skip",
        legendgroup: "cloud",
        showlegend: false,
        marker: { size: 3.5, color: alpha(css("--cloud"), 0.4) },
      },
      marks(front, {
        name: isFront ? "Pareto front" : "networks of the front",
        mode: isFront ? "lines+markers" : "markers",
        line: steps,
        customdata: front.map((item) => ["point", item.index]),
        hovertext: front.map((item) => hover(`#${item.index}`, item)),
        error_y: errorBars(state.y, front, { color: alpha(css("--front"), 0.35) }),
        error_x: errorBars(state.x, front, { color: alpha(css("--front"), 0.35) }),
        marker: {
          size: 8,
          opacity: 1,
          color: css("--front"),
          symbol: front.map((item) => (feasible(item) ? "circle" : "circle-open")),
        },
      }),
      marks(stars, {
        name: "published networks",
        mode: "markers+text",
        text: stars.map((item) => escape(item.name)),
        textposition: labelPlaces(stars, front, box),
        textfont: { color: css("--star"), size: 12 },
        cliponaxis: true,
        customdata: stars.map((item) => ["published", data.published.indexOf(item)]),
        hovertext: stars.map((item) => hover(item.name, item, item.text)),
        error_y: errorBars(state.y, stars, { color: alpha(css("--star"), 0.45) }),
        error_x: errorBars(state.x, stars, { color: alpha(css("--star"), 0.45) }),
        marker: { size: 13, symbol: "star", color: css("--star"), line: { color: css("--card"), width: 1 } },
      }),
      {
        type: "scatter", // stands for the cloud in the legend, where its own points are too small to see
        mode: "markers",
        name: `evaluated (${number(cloud.length, 0)})`,
        x: cloud.length ? [null] : [],
        y: cloud.length ? [null] : [],
        legendgroup: "cloud",
        marker: { size: 7, color: css("--cloud") },
      },
    ].map((trace) => ({ ...trace, showlegend: trace.showlegend !== false && trace.x.length > 0 }));
    const arrow = (item) => ({ max: ", higher is better", min: ", lower is better" })[item.direction] ?? "";
    const title = (item) => `${escape(withUnit(item.label, item.unit && `(${item.unit})`))}${arrow(item)}`;
    const budgets = budgetMarks(x, y);
    Plotly.react(
      "front-plot",
      traces,
      layout({
        xaxis: axis(title(x), { range: box[0] }),
        yaxis: axis(title(y), { range: box[1] }),
        hovermode: "closest",
        annotations: budgets.annotations,
        shapes: [...budgets.shapes, ...ring()],
      }),
      plotConfig(),
    );
    const outside = stars
      .filter((item) => place(item).some((v, i) => v < box[i][0] || v > box[i][1]))
      .map((item) => item.name);
    const open = front.some((item) => !feasible(item));
    $("front-note").replaceChildren(
      ...[x, y].flatMap((item) => [`${item.label}: `, metricBadge(item.metric), item.note ? ` ${item.note}. ` : " "]),
      "Bars are 90 % intervals. ",
      open ? "Hollow points are over the budget. " : "",
      outside.length ? `Outside this view: ${outside.join(", ")}. ` : "",
      "Click a point to see its network.",
    );
  }

  function budgetMarks(x, y) {
    const mark = (item, horizontal) => {
      if (item.upper === null) return null;
      const far = item.upper + 1e4 * Math.abs(item.upper || 1);
      const span = (a, b) =>
        horizontal ? { xref: "paper", x0: 0, x1: 1, y0: a, y1: b } : { yref: "paper", y0: 0, y1: 1, x0: a, x1: b };
      const text = `budget ${escape(withUnit(number(item.upper, item.digits), item.unit))}`;
      return {
        shapes: [
          {
            type: "rect",
            layer: "below",
            line: { width: 0 },
            fillcolor: alpha(css("--shade"), 0.12),
            ...span(item.upper, far),
          },
          { type: "line", line: { color: css("--ink"), width: 1.5, dash: "dash" }, ...span(item.upper, item.upper) },
        ],
        annotations: [
          {
            text,
            showarrow: false,
            font: { size: 12 },
            ...(horizontal
              ? { xref: "paper", x: 0, y: item.upper, xanchor: "left", yanchor: "bottom" }
              : { yref: "paper", y: 0, x: item.upper, xanchor: "right", xshift: -4, yanchor: "bottom" }),
          },
        ],
      };
    };
    const all = [mark(x, false), mark(y, true)].filter(Boolean);
    return { shapes: all.flatMap((item) => item.shapes), annotations: all.flatMap((item) => item.annotations) };
  }

  // The ring around the selected point: a shape, since moving it does not draw the points again
  function ring() {
    const point = pointByIndex.get(state.point);
    const [x, y] = point ? place(point) : [null, null];
    if (!isNumber(x) || !isNumber(y)) return [];
    const size = { xsizemode: "pixel", ysizemode: "pixel", x0: -9, x1: 9, y0: -9, y1: 9 };
    return [{ type: "circle", xanchor: x, yanchor: y, ...size, line: { color: css("--ink"), width: 2.5 } }];
  }

  function drawRing() {
    Plotly.relayout("front-plot", { shapes: [...budgetMarks(info(state.x), info(state.y)).shapes, ...ring()] });
  }

  function onFrontClick(handler) {
    $("front-plot").on("plotly_click", (event) => handler(...(event.points[0].customdata ?? [])));
  }

  // ----------------------------------------------------------------- cost by block, progress

  function drawCost(point) {
    const series = [
      ["macs", "MACs", "--front"],
      ["params", "parameters", "--star"],
      ["latency_ms", "latency", "--third"],
    ].filter(([key]) => point.blocks.length && point.blocks.every((block) => isNumber(block[key])));
    const names = point.blocks.map((block, i) => `${i + 1}`);
    const traces = series.map(([key, name, color]) => {
      const total = sum(point.blocks.map((block) => block[key])) || 1;
      return {
        type: "bar",
        name,
        x: names,
        y: point.blocks.map((block) => (100 * block[key]) / total),
        marker: { color: css(color) },
        hoverinfo: "text",
        hovertext: point.blocks.map(
          (block) =>
            `${escape(block.stage)}: ${escape(block.block)} ×${block.repeats}<br>${name} ${number((100 * block[key]) / total, 1)} %`,
        ),
      };
    });
    Plotly.react(
      "cost-plot",
      traces,
      layout({
        barmode: "group",
        bargap: 0.25,
        hovermode: "closest",
        xaxis: axis("block, from input to output", { type: "category" }),
        yaxis: axis("share of the network (%)", { rangemode: "tozero" }),
      }),
      plotConfig(),
    );
  }

  function drawProgress() {
    const line = (rows, key, name, color, dash) => ({
      type: "scatter",
      mode: "lines",
      name,
      x: rows.map((row) => row.evaluations),
      y: rows.map((row) => (key === "best" ? scaled(yDefault, row.best) : row[key])),
      line: { color: css(color), width: 2, dash },
      connectgaps: false,
    });
    const draw = (id, key, title) => {
      const traces = [line(data.history, key, "this search", "--front", "solid")];
      if (data.baseline_history.some((row) => isNumber(row[key])))
        traces.push(line(data.baseline_history, key, "random search", "--baseline", "dot"));
      Plotly.react(
        id,
        traces,
        layout({ hovermode: "x unified", xaxis: axis("evaluations"), yaxis: axis(title) }),
        plotConfig(),
      );
    };
    const best = data.history.some((row) => isNumber(row.best));
    $("progress-card").hidden = !data.history.length;
    $("best-plot").hidden = !best;
    if (data.history.length) draw("hypervolume-plot", "hypervolume", "hypervolume");
    if (best)
      draw(
        "best-plot",
        "best",
        escape(withUnit(`best ${info(yDefault).label}`, info(yDefault).unit && `(${info(yDefault).unit})`)),
      );
  }

  return { drawFront, drawRing, onFrontClick, drawCost, drawProgress };
}
