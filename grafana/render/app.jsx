// The dashboard of one JSON file, row by row, drawn with Grafana's components.
import "uplot/dist/uPlot.min.css";
import {
  Registry,
  ThemeContext,
  applyFieldOverrides,
  createTheme,
  dateTime,
  getFieldDisplayValues,
  identityOverrideProcessor,
  thresholdsOverrideProcessor,
} from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import { BigValue, GlobalStyles, PanelChrome, TimeSeries } from "@grafana/ui";
import { Component } from "react";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import { framesOf } from "./frames.js";
import { Heatmap } from "./heatmap.jsx";

const { dashboard, results, mode, width } = window.skatra;
const theme = createTheme({ colors: { mode } });
const timeZone = "utc";
const range = { from: dateTime(results.start * 1000), to: dateTime(results.end * 1000) };
range.raw = { from: range.from, to: range.to };
const keep = (text) => text;

// Grafana's grid: 24 columns, rows of 30 pixels, 8 pixels between panels.
const GAP = 8;
const ROW = 30;
const across = (columns) => (columns * (width + GAP)) / 24;
const down = (rows) => rows * (ROW + GAP);

// A panel plugin's own defaults, which Grafana puts under the JSON when it loads it.
const COLOR = { timeseries: { mode: "palette-classic" }, stat: { mode: "thresholds" } };

const registryOf = ({ custom = {}, ...standard }) => {
  const entry = (path, isCustom) => ({
    id: isCustom ? `custom.${path}` : path,
    path,
    name: path,
    isCustom,
    process: path === "thresholds" ? thresholdsOverrideProcessor : identityOverrideProcessor,
    shouldApply: (field) => field.type !== "time",
  });
  return new Registry(() => [
    ...Object.keys(standard).map((path) => entry(path, false)),
    ...Object.keys(custom).map((path) => entry(path, true)),
  ]);
};

// JSON has no -Infinity: the base of thresholds is null there.
const loaded = (panel) => {
  const { defaults, overrides } = panel.fieldConfig;
  const steps = defaults.thresholds.steps.map((step) => ({
    ...step,
    value: step.value ?? -Infinity,
  }));
  const color = defaults.color ?? COLOR[panel.type];
  const thresholds = { ...defaults.thresholds, steps };
  return { defaults: { ...defaults, color, thresholds }, overrides: overrides ?? [] };
};

// Vertical lines where a model was retrained; Grafana publishes no annotation layer.
const marks = (config) => {
  const times = new Set(results.annotations.flatMap(({ values }) => values.map(([, v]) => Number(v))));
  const color = dashboard.annotations.list[0].iconColor;
  config.addHook("draw", ({ ctx, bbox, valToPos }) => {
    ctx.save();
    ctx.strokeStyle = theme.visualization.getColorByName(color);
    ctx.setLineDash([4, 4]);
    for (const time of times) {
      const x = valToPos(time, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  });
};

const Stat = ({ data, fieldConfig, height, options, width: inner }) => {
  const values = getFieldDisplayValues({
    data,
    fieldConfig,
    reduceOptions: options.reduceOptions,
    replaceVariables: keep,
    theme,
    timeZone,
  });
  return (
    <BigValue
      colorMode={options.colorMode}
      count={values.length}
      graphMode={options.graphMode}
      height={height}
      theme={theme}
      value={{ ...values[0].display, title: undefined }}
      width={inner}
    />
  );
};

const Content = ({ panel, width: inner, height }) => {
  const answers = results.panels[panel.id];
  const shared = { height, options: panel.options, width: inner };
  if (panel.type === "heatmap") {
    const times = { marks, range, step: results.step, timeZone };
    return <Heatmap {...shared} {...times} answers={answers} theme={theme} />;
  }
  const fieldConfig = loaded(panel);
  const data = applyFieldOverrides({
    data: framesOf(answers, results),
    fieldConfig,
    fieldConfigRegistry: registryOf(fieldConfig.defaults),
    replaceVariables: keep,
    theme,
    timeZone,
  });
  if (panel.type === "stat") return <Stat {...shared} data={data} fieldConfig={fieldConfig} />;
  return (
    <TimeSeries {...shared} frames={data} legend={panel.options.legend} timeRange={range} timeZone={timeZone}>
      {(config) => marks(config)}
    </TimeSeries>
  );
};

class Panel extends Component {
  state = {};
  static getDerivedStateFromError(error) {
    return { error };
  }
  render() {
    const { panel, top } = this.props;
    const { x, y, w, h } = panel.gridPos;
    const place = { left: across(x), position: "absolute", top: down(y - top) };
    return (
      <div data-panel={panel.title} data-kind={panel.type} style={place}>
        {this.state.error ? (
          <pre data-error>{String(this.state.error.stack)}</pre>
        ) : (
          <PanelChrome title={panel.title} description={panel.description} width={across(w) - GAP} height={down(h) - GAP}>
            {(innerWidth, innerHeight) => <Content panel={panel} width={innerWidth} height={innerHeight} />}
          </PanelChrome>
        )}
      </div>
    );
  }
}

const rows = [];
for (const panel of dashboard.panels) {
  if (panel.type === "row") rows.push({ title: panel.title, top: panel.gridPos.y, panels: [] });
  else rows.at(-1).panels.push(panel);
}

const Row = ({ title, top, panels }) => {
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  return (
    <section data-row={title} style={{ padding: 12, width: width + 24 }}>
      <div style={{ height: down(bottom - top) - GAP, position: "relative" }}>
        <h4 style={{ margin: 0 }}>{title}</h4>
        {panels.map((panel) => (
          <Panel key={panel.id} panel={panel} top={top} />
        ))}
      </div>
    </section>
  );
};

await initPluginTranslations("grafana");
const root = createRoot(document.getElementById("root"));
const draw = (content) =>
  root.render(
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      {content}
    </ThemeContext.Provider>
  );
// Charts write their axes once: the font that the styles name must be there by then.
flushSync(() => draw(null));
await Promise.all([400, 500].map((weight) => document.fonts.load(`${weight} 12px Inter`)));
draw(rows.map((row) => <Row key={row.title} {...row} />));
