"use strict";
// The selected network: its numbers, its architecture as a strip of blocks, its blocks in numbers and its decisions.

function makeNetwork(
  {
    data,
    state,
    $,
    el,
    button,
    segments,
    copyable,
    sum,
    isNumber,
    info,
    number,
    print,
    range,
    withUnit,
    metricBadge,
    budget,
    misses,
    choose,
    update,
    shown,
    better,
    yDefault,
    xDefault,
    pointByIndex,
  },
  plots,
) {
  // ---------------------------------------------------------------- the selected network

  function drawSelection() {
    const point = pointByIndex.get(state.point);
    const order = data.front.map((item) => item.index);
    const at = order.indexOf(state.point);
    const step = (text, label, by) =>
      button(text, () => choose(order[at + by]), { "aria-label": label, disabled: order[at + by] === undefined });
    $("selection-title").textContent = point ? `Network #${point.index}` : "Selected network";
    $("selection-controls").replaceChildren(
      ...(point ? [step("←", "previous network", -1), step("→", "next network", 1)] : []),
    );
    if (!point) {
      $("selection-body").replaceChildren(el("p", { class: "muted" }, "The front is empty: no network was found."));
      return;
    }
    const rows = shown.map((metric) =>
      el(
        "tr",
        {},
        el("td", {}, info(metric).label),
        el(
          "td",
          { class: "value" },
          print(metric, point.metrics[metric], true),
          range(metric, point) ? el("span", { class: "interval" }, range(metric, point)) : null,
        ),
        el("td", {}, metricBadge(metric, point)),
      ),
    );
    const over = data.constraints.filter((c) => misses(point, c));
    const field = (name, ...content) => el("div", { class: "field" }, el("div", { class: "name" }, name), ...content);
    $("selection-body").replaceChildren(
      ...over.map((c) =>
        el("p", {}, el("span", { class: "badge over" }, "over budget"), ` ${c.label} is ${c.upper != null ? "above" : "below"} ${budget(c)}`),
      ),
      el("table", { class: "metrics" }, el("tbody", {}, ...rows)),
      ...(point.known_from ? [field("Known before the search", point.known_from)] : []),
      field("Code", el("div", { class: "command" }, ...copyable(point.code))),
      field("Export", el("div", { class: "command" }, ...copyable(point.export))),
      ...(data.published.length
        ? [
            field(
              "Against the published networks, by our estimates",
              el("div", { class: "scroll versus" }, versus(point)),
            ),
          ]
        : []),
    );
  }

  // This network minus each published one, on the two axes of the front
  function versus(point) {
    const axes = xDefault === yDefault ? [yDefault] : [yDefault, xDefault];
    const cell = (item, metric) => {
      const [ours, theirs] = [point.metrics[metric], item.metrics[metric]];
      if (!isNumber(ours) || !isNumber(theirs)) return el("td", { class: "num" }, "–");
      const text = `${ours < theirs ? "−" : "+"}${withUnit(print(metric, Math.abs(ours - theirs)), info(metric).unit === "%" ? "points" : info(metric).unit)}`;
      return el("td", { class: `num ${better(metric, ours, theirs) ? "gain" : ours === theirs ? "" : "loss"}` }, text);
    };
    return el(
      "table",
      { class: "data" },
      el(
        "tbody",
        {},
        ...data.published.map((item) =>
          el(
            "tr",
            {},
            el("td", {}, item.name),
            ...axes.map((metric) => cell(item, metric)),
            el("td", { class: "muted" }, item.dominated_by.includes(point.index) ? "dominated" : ""),
          ),
        ),
      ),
    );
  }

  // ---------------------------------------------------------------- its architecture

  // "ir_k3_s1_e6_c16_se" -> type ir, kernel 3, expand 6, SE; parts that a space does not use are simply absent
  function parseBlock(text) {
    const tokens = text.split("_");
    const find = (letter) =>
      tokens
        .slice(1)
        .find((token) => new RegExp(`^${letter}[\\d.]+$`).test(token))
        ?.slice(1);
    const kernel = find("k");
    return {
      type: tokens[0],
      kernel,
      stride: find("s"),
      expand: find("e"),
      se: tokens.some((token) => /^se[\d.]*$/.test(token)),
      kind: kernel ? `${tokens[0]} ${kernel}×${kernel}` : tokens[0],
    };
  }

  // Paul Tol's light palette: made for dark labels on top, and safe for colour-blind readers. A kind keeps its colour in all networks.
  const palette = ["#77aadd", "#eedd88", "#ee8866", "#44bb99", "#ffaabb", "#99ddff", "#bbcc33", "#c9a6e0"];
  const kinds = new Map();
  for (const block of data.front.flatMap((point) => point.blocks))
    kinds.set(parseBlock(block.block).kind, (kinds.get(parseBlock(block.block).kind) ?? 0) + 1);
  const ranked = [...kinds].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([kind]) => kind);
  const fill = (kind) => palette[ranked.indexOf(kind)] ?? "#c8ccd2";

  function drawArchitecture() {
    const point = pointByIndex.get(state.point);
    const blocks = point?.blocks ?? [];
    const widths = [
      ["latency_ms", "latency"],
      ["macs", "MACs"],
      ["params", "parameters"],
    ].filter(([key]) => blocks.length && blocks.every((b) => isNumber(b[key])));
    const key = widths.some(([name]) => name === state.strip) ? state.strip : widths[0]?.[0];
    const total = sum(blocks.map((block) => block[key] ?? 0)) || 1;
    $("strip-controls").replaceChildren(
      ...(widths.length
        ? ["Width: share of ", segments("width of a block", widths, key, (value) => update({ strip: value }))]
        : []),
    );
    const stages = [];
    blocks.forEach((block, i) => {
      if (stages.at(-1)?.name !== block.stage) stages.push({ name: block.stage, share: 0, boxes: [] });
      const [stage, parts, share] = [stages.at(-1), parseBlock(block.block), (100 * block[key]) / total];
      stage.share += share;
      const label = [
        `${i + 1}`,
        parts.kernel && `k${parts.kernel}`,
        parts.expand && `e${parts.expand}`,
        `×${block.repeats}`,
        parts.se && "SE",
      ].filter(Boolean);
      stage.boxes.push(
        el(
          "div",
          {
            class: "block",
            "--fill": fill(parts.kind),
            "--share": share.toFixed(3),
            title: `${block.block} ×${block.repeats}, ${block.in} → ${block.out}`,
          },
          el("b", {}, label[0]),
          ...label.slice(1).map((text) => el("span", {}, text)),
          el("span", { class: "share" }, `${number(share, share < 10 ? 1 : 0)}%`),
        ),
      );
    });
    $("strip").replaceChildren(
      ...stages.map((stage) =>
        el(
          "div",
          { class: "stage", "--share": stage.share.toFixed(3), "--min": stage.boxes.length },
          el("div", { class: "blocks" }, ...stage.boxes),
          el("div", { class: "name" }, stage.name),
        ),
      ),
    );
    const here = ranked.filter((kind) => blocks.some((block) => parseBlock(block.block).kind === kind));
    $("strip-legend").replaceChildren(
      ...here.map((kind) => el("span", {}, el("i", { "--fill": fill(kind) }), kind)),
      blocks.length
        ? "k kernel, e expansion, × layers, SE squeeze-and-excitation"
        : "No blocks were recorded for this network.",
    );
    $("blocks-details").hidden = $("cost-plot").parentElement.hidden = !blocks.length;
    if (blocks.length) {
      drawBlocks(blocks);
      plots.drawCost(point);
    }
    drawDecisions(point?.decisions ?? {});
  }

  function drawBlocks(blocks) {
    const costs = ["params", "macs", "latency_ms"].filter((metric) => blocks.some((block) => isNumber(block[metric])));
    const head = ["#", "stage", "block", "in", "out"].map((name, i) =>
      el("th", { scope: "col", class: i ? null : "num" }, name),
    );
    const fine = (metric, value) =>
      print(metric, value, false, info(metric).scale > 1 || metric === "latency_ms" ? 2 : 0);
    const number = (metric) =>
      el(
        "th",
        { scope: "col", class: "num" },
        withUnit(info(metric).short, info(metric).unit && `(${info(metric).unit})`),
        " ",
        metricBadge(metric),
      );
    const rows = blocks.map((block, i) =>
      el(
        "tr",
        {},
        el("td", { class: "num" }, String(i + 1)),
        el("td", {}, block.stage),
        el("td", {}, el("code", {}, block.block)),
        el("td", {}, block.in),
        el("td", {}, block.out),
        el("td", { class: "num" }, String(block.repeats)),
        ...costs.map((metric) => el("td", { class: "num" }, fine(metric, block[metric]))),
      ),
    );
    const totals = costs.map((metric) =>
      el("td", { class: "num" }, fine(metric, sum(blocks.map((block) => block[metric] ?? 0)))),
    );
    $("blocks").replaceChildren(
      el(
        "table",
        { class: "data" },
        el(
          "thead",
          {},
          el("tr", {}, ...head, el("th", { scope: "col", class: "num" }, "layers"), ...costs.map(number)),
        ),
        el("tbody", {}, ...rows),
        el("tfoot", {}, el("tr", {}, el("td", { colspan: 6 }, "sum of the blocks"), ...totals)),
      ),
    );
  }

  // "stage1.expand": 6 becomes row stage1, column expand; a decision without a stage is listed above the table
  function drawDecisions(decisions) {
    const split = (name) => [name.slice(0, name.lastIndexOf(".")), name.slice(name.lastIndexOf(".") + 1)];
    const names = Object.keys(decisions);
    const staged = names.filter((name) => name.includes(".")).map(split);
    const [rows, columns] = [
      [...new Set(staged.map(([row]) => row))],
      [...new Set(staged.map(([, column]) => column))],
    ];
    const single = names.filter((name) => !name.includes(".")).map((name) => `${name} ${decisions[name]}`);
    const heads = columns.map((column) => el("th", { scope: "col", class: "num" }, column));
    const cells = (row) =>
      columns.map((column) => el("td", { class: "num" }, String(decisions[`${row}.${column}`] ?? "")));
    const body = rows.map((row) => el("tr", {}, el("th", { scope: "row" }, row), ...cells(row)));
    $("decisions").replaceChildren(
      single.join(", "),
      rows.length
        ? el("table", { class: "data" }, el("thead", {}, el("tr", {}, el("th"), ...heads)), el("tbody", {}, ...body))
        : "",
      names.length ? "" : "No decisions were recorded.",
    );
  }

  function draw() {
    drawSelection();
    drawArchitecture();
  }

  return { draw };
}
