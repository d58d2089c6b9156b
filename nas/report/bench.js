"use strict";
// A button shows and hides the curves of its strategy in all plots.
for (const button of document.querySelectorAll("nav button")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    for (const plot of document.querySelectorAll(".js-plotly-plot")) {
      const traces = plot.data.flatMap((trace, i) => (trace.legendgroup === button.value ? [i] : []));
      if (traces.length) Plotly.restyle(plot, { visible: shown }, traces);
    }
  });
}
