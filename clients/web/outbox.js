/** What waits to be told to the server, in its order. */

import { BellhopError, request } from "./gateway.js";

/** @typedef {import("./store.js").State} State */

/** Interactions that wait; the oldest go first. A phone that is offline gets no more of them. */
const MOST_WAITING = 200;

/**
 * Adds what a person did with a notification, unless it waits already.
 *
 * @param {State} state
 * @param {string} secret Of the device, while it is this person's.
 * @param {string} messageId
 * @param {"SEEN" | "OPENED" | "DISMISSED"} interaction
 */
export function addInteraction(state, secret, messageId, interaction) {
  const id = `${interaction} ${messageId}`;
  if (state.outbox.some((call) => call.id === id)) {
    return;
  }
  const interactions = state.outbox.filter((call) => call.method === "POST");
  if (interactions.length >= MOST_WAITING) {
    state.outbox.splice(state.outbox.indexOf(interactions[0]), 1);
  }
  state.outbox.push({
    id,
    method: "POST",
    path: `/v1/messages/${encodeURIComponent(messageId)}/interactions`,
    secret,
    body: {
      deviceId: state.deviceId,
      interaction: `INTERACTION_${interaction}`,
      occurTime: new Date().toISOString(),
    },
  });
}

/**
 * Makes the calls that wait.
 *
 * @param {import("./store.js").Store} store
 * @returns {Promise<void>} Rejects with BellhopError at the first call that has to wait further.
 */
export async function deliver(store) {
  for (;;) {
    const state = await store.read();
    const [call] = state.outbox;
    if (!call) {
      return;
    }
    try {
      await request(configOf(state).gateway, call.method, call.path, ownHeaders(state, call.secret), call.body);
    } catch (error) {
      if (!(error instanceof BellhopError) || error.retryable) {
        throw error;
      }
      // Refused for good: a repeat, or about something that is over.
    }
    await store.update((later) => {
      later.outbox = later.outbox.filter((each) => each.id !== call.id);
    });
  }
}

/**
 * @param {State} state
 * @returns {import("./notification.js").Config}
 */
export function configOf(state) {
  if (!state.config) {
    throw new BellhopError("NOT_STARTED", "Call start() first.");
  }
  return state.config;
}

/**
 * @param {State} state
 * @param {string} secret
 */
export function ownHeaders(state, secret) {
  return { "app-id": configOf(state).appId, "device-secret": secret };
}
