/** Logins and logouts as changes of what a browser keeps. */

import { base64, newBindingKey } from "./stamp.js";

/** @typedef {import("./store.js").State} State */

/**
 * Ends the login, if there is one: its key is gone, and the server is to be told.
 *
 * @param {State} state
 */
export function endBinding(state) {
  const { binding } = state;
  state.binding = null;
  if (binding) {
    state.generation += 1;
    state.outbox.push(unregistration(state, binding.secret));
  }
}

/**
 * Puts a new login in the place of what there is.
 *
 * @param {State} state
 * @param {string | null} userId null: nobody.
 */
export function replaceBinding(state, userId) {
  if (state.binding?.userId === null && userId !== null) {
    // Whoever logs in takes the device over as it is, with its own subscriptions.
    state.binding = null;
  }
  endBinding(state);
  state.generation += 1;
  state.binding = {
    userId,
    // Brought along, so that a login can be repeated, and ended, whose answer was lost.
    secret: base64(crypto.getRandomValues(new Uint8Array(32))),
    key: userId === null ? null : newBindingKey(),
    pending: true,
    endpoint: null,
    lost: false,
  };
}

/**
 * What takes this device out on the server.
 *
 * @param {State} state
 * @param {string} secret Of the device.
 * @returns {import("./store.js").Call}
 */
export function unregistration(state, secret) {
  const path = `/v1/devices/${encodeURIComponent(state.deviceId)}?bindingGeneration=${state.generation}`;
  return { id: crypto.randomUUID(), method: "DELETE", path, secret, body: null };
}
