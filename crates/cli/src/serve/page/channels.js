// `readChannels`: the channels of the server, over any number of requests.

import { problem } from "./stream.js";

/** The most channels that the server returns at once. */
export const AT_ONCE = 1_000;

/**
 * The first channels after the name, at most `limit`, and `next`: the name after which more follow, or null. Without a
 * name they are the first of all.
 */
export async function readChannels(after, limit) {
  const channels = [];
  let next = after;
  do {
    const query = new URLSearchParams({ limit: Math.min(limit - channels.length, AT_ONCE) });
    if (next) query.set("after", next);
    const response = await fetch(`/channels?${query}`, { headers: { accept: "application/json" } });
    if (!response.ok) throw new Error(await problem(response));
    const page = await response.json();
    channels.push(...page.channels);
    next = page.next;
  } while (next && channels.length < limit);
  return { channels, next };
}
