/** Positions on a scale of powers of ten, and round values along it. Pure. */

/** Where `value` is between `low` and `high`, 0 to 1, cut off at the ends. */
export function logShare(value: number, low: number, high: number): number {
  if (!(value > 0)) return 0;
  return Math.min(1, Math.max(0, Math.log(value / low) / Math.log(high / low)));
}

/** 1, 2, 3, 5, 7, 10, 15, 20, 30 ...: the stops of a slider from `low` to `high`, both among them. */
export function stops(low: number, high: number, steps: readonly number[] = [1, 1.5, 2, 3, 5, 7]): number[] {
  const all = [low];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power += 1) {
    for (const step of steps) {
      const value = Number((step * 10 ** power).toPrecision(3));
      if (value > low && value < high) all.push(value);
    }
  }
  if (high > low) all.push(high);
  return all;
}

/** The place in `values` that is nearest to `value`, by ratio. */
export function nearest(values: readonly number[], value: number): number {
  let best = 0;
  values.forEach((one, at) => {
    if (Math.abs(Math.log(one / value)) < Math.abs(Math.log((values[best] ?? one) / value))) best = at;
  });
  return best;
}

/** The ends of a scale on which all of these can be seen, a bit of room around them. */
export function ends(values: readonly number[]): [low: number, high: number] {
  const shown = values.filter((value) => Number.isFinite(value) && value > 0);
  if (shown.length === 0) return [1, 10];
  return [Math.min(...shown) / 1.5, Math.max(...shown) * 1.5];
}

/** Those of `marks` between the ends, thinned to `most`. */
export function ticks(marks: readonly number[], low: number, high: number, most: number): number[] {
  const inside = marks.filter((mark) => mark >= low && mark <= high);
  const step = Math.ceil(inside.length / most);
  return step <= 1 ? inside : inside.filter((_, at) => at % step === 0);
}
