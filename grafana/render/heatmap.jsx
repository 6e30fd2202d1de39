// Grafana publishes no heatmap. Axes, theme and chart are its components; the cells and
// the scale of colours below them are drawn here, after its options.
import { formattedValueToString, getDisplayProcessor } from "@grafana/data";
import { AxisPlacement, ScaleDirection, ScaleOrientation } from "@grafana/schema";
import { UPlotChart, UPlotConfigBuilder, VizLayout } from "@grafana/ui";
import * as chromatic from "d3-scale-chromatic";
import { useMemo } from "react";
import { bucketsOf } from "./frames.js";

// One colour per step; dark themes go from dark to light, as Grafana's own.
const palette = ({ scheme, steps, reverse }, theme) => {
  const scale = chromatic[`interpolate${scheme}`];
  const flip = theme.isDark !== Boolean(reverse);
  return Array.from({ length: steps }, (_, place) => {
    const share = place / (steps - 1);
    return scale(flip ? 1 - share : share);
  });
};

const Scale = ({ colors, most, theme }) => (
  <div
    style={{
      alignItems: "center",
      color: theme.colors.text.secondary,
      display: "flex",
      fontSize: 12,
      gap: 8,
      padding: "4px 8px",
    }}
  >
    0
    <div
      style={{
        background: `linear-gradient(90deg, ${colors.join(",")})`,
        height: 8,
        width: 160,
      }}
    />
    {most.toFixed(0)} in a cell
  </div>
);

export const Heatmap = ({ answers, height, marks, options, range, step, theme, timeZone, width }) => {
  const { colors, config, data, most } = useMemo(() => {
    const { counts, edges, times } = bucketsOf(answers);
    const colors = palette(options.color, theme);
    const most = Math.max(1, ...counts.flat());
    const unit = getDisplayProcessor({
      field: { type: "number", config: options.yAxis },
      theme,
    });
    const builder = new UPlotConfigBuilder(timeZone);
    builder.addScale({
      scaleKey: "x",
      orientation: ScaleOrientation.Horizontal,
      direction: ScaleDirection.Right,
      isTime: true,
      range: () => [range.from.valueOf(), range.to.valueOf()],
    });
    builder.addScale({
      scaleKey: "y",
      orientation: ScaleOrientation.Vertical,
      direction: ScaleDirection.Up,
      range: () => [0, edges.length],
    });
    builder.addAxis({ scaleKey: "x", isTime: true, placement: AxisPlacement.Bottom, theme, timeZone });
    // Rows are equally high, as in Grafana for given buckets; a tick is a row's upper edge.
    const every = Math.ceil(edges.length / 8);
    const marked = edges.map((_, place) => place + 1).filter((place) => place % every === 0);
    builder.addAxis({
      scaleKey: "y",
      placement: AxisPlacement.Left,
      theme,
      splits: () => marked,
      values: () =>
        marked.map((place) =>
          edges[place - 1] === Infinity
            ? "+Inf"
            : formattedValueToString(unit(edges[place - 1], options.yAxis.decimals))
        ),
    });
    builder.addSeries({ scaleKey: "y", theme, pathBuilder: () => null, pointsBuilder: () => null });
    builder.addHook("drawClear", (plot) => {
      const wide = (plot.bbox.width * step * 1000) / (range.to - range.from);
      counts.forEach((row, place) => {
        const top = plot.valToPos(place + 1, "y", true);
        const tall = plot.valToPos(place, "y", true) - top;
        row.forEach((count, column) => {
          if (count <= 0) return;
          const right = plot.valToPos(times[column], "x", true);
          if (right - wide < plot.bbox.left - 1) return;
          const share = Math.sqrt(count / most);
          plot.ctx.fillStyle = colors[Math.round(share * (colors.length - 1))];
          plot.ctx.fillRect(right - wide, top + 0.5, wide + 0.5, tall - 1);
        });
      });
    });
    marks(builder);
    builder.setPrepData(() => [times, times.map(() => null)]);
    return { colors, config: builder, data: builder.prepData([]), most };
  }, []);
  const scale = (
    <VizLayout.Legend placement="bottom">
      <Scale colors={colors} most={most} theme={theme} />
    </VizLayout.Legend>
  );
  return (
    <VizLayout width={width} height={height} legend={scale}>
      {(wide, tall) => <UPlotChart config={config} data={data} width={wide} height={tall} />}
    </VizLayout>
  );
};
