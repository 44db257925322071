// Continuations of a text, token by token, from the server's /v1/completions.

import { ApiError } from "./api-error.js";
import { openStream } from "./api.js";

// The events of a stream: each one's data, parsed, until "[DONE]".
async function* readEvents(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new ApiError("The connection was lost.", "What has arrived is shown.");
    rest += value;
    const events = rest.split(/\r?\n\r?\n/);
    rest = events.pop();
    for (const event of events) {
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart()).join("\n");
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
}

// A choice's new text in pieces with the log probability of each, null where it is not known.
const piecesOf = ({ text, logprobs }) => {
  const tokens = logprobs?.tokens ?? [];
  if (!text || tokens.join("") !== text) return text ? [{ text, logprob: logprobs?.token_logprobs?.at(-1) ?? null }] : [];
  return tokens.map((token, index) => ({ text: token, logprob: logprobs.token_logprobs[index] }));
};

// Yields { index, pieces, finish } as they come, and returns the usage.
export async function* complete(model, prompt, settings, signal) {
  const response = await openStream("/v1/completions", { model, prompt, ...settings, stream: true, logprobs: 0, stream_options: { include_usage: true } }, signal);
  let usage = null;
  for await (const event of readEvents(response)) {
    if (event.error) throw new ApiError(event.error.message);
    usage = event.usage ?? usage;
    for (const choice of event.choices) yield { index: choice.index, pieces: piecesOf(choice), finish: choice.finish_reason };
  }
  return usage;
}
