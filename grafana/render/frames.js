// What Prometheus answered, as the data frames that Grafana's data source would make.
import { FieldType, createDataFrame } from "@grafana/data";

const named = (legend, labels) =>
  legend.replace(/{{\s*(\w+)\s*}}/g, (_, label) => labels[label] ?? "");

const numbers = (series) =>
  (series.values ?? [series.value]).map(([time, value]) => [time * 1000, Number(value)]);

// Every step has a row, null where nothing was answered, so that gaps stay gaps.
const frameOf = (series, legend, refId, span) => {
  const points = new Map(numbers(series));
  const times = series.value ? [...points.keys()] : span;
  return createDataFrame({
    refId,
    fields: [
      { name: "Time", type: FieldType.time, config: {}, values: times },
      {
        name: "Value",
        type: FieldType.number,
        labels: series.metric,
        config: { displayNameFromDS: named(legend, series.metric) },
        values: times.map((time) => points.get(time) ?? null),
      },
    ],
  });
};

export const framesOf = (answers, { start, end, step }) => {
  const count = Math.floor((end - start) / step) + 1;
  const span = Array.from({ length: count }, (_, place) => (start + place * step) * 1000);
  return answers.flatMap(({ legend, result }, place) =>
    result.map((series) => frameOf(series, legend, String.fromCharCode(65 + place), span))
  );
};

// Cumulative buckets become counts of each bucket; edges are sorted as numbers.
export const bucketsOf = ([{ result }]) => {
  const edge = (series) => (series.metric.le === "+Inf" ? Infinity : Number(series.metric.le));
  const sorted = [...result].sort((a, b) => edge(a) - edge(b));
  const times = [...new Set(sorted.flatMap((s) => numbers(s).map(([time]) => time)))].sort(
    (a, b) => a - b
  );
  const rows = sorted.map((series) => new Map(numbers(series)));
  const counts = rows.map((row, place) =>
    times.map((time) => Math.max(0, (row.get(time) ?? 0) - (rows[place - 1]?.get(time) ?? 0)))
  );
  return { edges: sorted.map(edge), times, counts };
};
