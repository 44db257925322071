// Which size of pictures a series of them is fluent at: smaller where each takes too long, and larger again
// when there is time. Pure: it knows neither clock nor camera.

export const SIDES = [640, 480, 320, 240]; // pixels of the longer side
const SLOW_MS = 125; // a picture: 8 a second
const FAST_MS = 90; // what a picture may take at the larger size
const WEIGHT = 0.3; // of the last picture in the mean
const SETTLE = 3; // pictures at a size before it changes
const PATIENCE = 12, MAX_PATIENCE = 200; // pictures before a larger size is tried

export const startRate = () => ({ level: 0, ms: null, count: 0, patience: PATIENCE, hasRisen: false });

const area = (level) => SIDES[level] ** 2;

// The first level from `level` on that is fast enough, if the time is in proportion to the area.
const fitting = ({ level, ms }) => {
  const found = SIDES.findIndex((_, other) => other > level && (ms * area(other)) / area(level) < SLOW_MS);
  return found < 0 ? SIDES.length - 1 : found;
};

// The state after a picture that took `ms`. A larger size that proved too slow is tried later and later.
export const adaptRate = (rate, ms) => {
  const mean = rate.ms === null ? ms : rate.ms + WEIGHT * (ms - rate.ms);
  const now = { ...rate, ms: mean, count: rate.count + 1 };
  if (now.count < SETTLE) return now;
  if (mean > SLOW_MS && now.level < SIDES.length - 1) {
    const patience = now.hasRisen ? Math.min(2 * now.patience, MAX_PATIENCE) : now.patience;
    return { level: fitting(now), ms: null, count: 0, patience, hasRisen: false };
  }
  const isFast = now.level > 0 && (mean * area(now.level - 1)) / area(now.level) < FAST_MS;
  return isFast && now.count >= now.patience ? { ...now, level: now.level - 1, ms: null, count: 0, hasRisen: true } : now;
};
