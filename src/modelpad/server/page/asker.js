// Sends inputs and shows predictions. While an input is being changed there is one request at a time,
// for its present state; when it is at rest, only the request for its last state counts.

const LIVE_MS = 150; // between predictions while something is drawn or moved
const REST_MS = 10_000; // without such predictions, when the server has too many requests

// `on` has read(), send(values, signal, isLive), show(values, answer, isLive, ms), fail(error), wait()
// and begin(isLive). Returns ask(isLive).
export const makeAsker = (on) => {
  let running = null, isAsked = false, timer = 0, restUntil = 0;
  const run = async (isLive) => {
    const values = on.read();
    running?.abort();
    running = null;
    if (!values) return on.wait();
    const mine = running = Object.assign(new AbortController(), { isLive });
    const start = performance.now();
    on.begin(isLive);
    try {
      const answer = await on.send(values, mine.signal, isLive);
      if (mine === running) on.show(values, answer, isLive, performance.now() - start);
    } catch (error) {
      if (error.status === 429) restUntil = performance.now() + REST_MS;
      if (mine === running && !isLive && error.name !== "AbortError") on.fail(error);
    }
    if (mine !== running) return;
    running = null;
    if (isAsked) timer ||= setTimeout(askLive, LIVE_MS);
    isAsked = false;
  };
  const askLive = () => {
    timer = 0;
    if (running?.isLive) isAsked = true;
    else run(true);
  };
  return (isLive = false) => {
    if (isLive) {
      if (performance.now() > restUntil) timer ||= setTimeout(askLive, LIVE_MS);
      return;
    }
    clearTimeout(timer);
    timer = 0;
    isAsked = false;
    run(false);
  };
};
