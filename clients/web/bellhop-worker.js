/**
 * Bellhop's service worker: shows notifications, and tells what people do with them. docs/web-client.md says how to serve
 * it. A module worker; an application with a module worker of its own imports it there instead.
 */

import { Device } from "./device.js";
import { destination, isForUs, MARK, neutralNotification, ownNotification, readEnvelope } from "./notification.js";
import { Store } from "./store.js";
import { subscribe } from "./subscription.js";

/** @typedef {import("./notification.js").Envelope} Envelope */
/** @typedef {import("./store.js").State} State */

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const { registration, clients } = worker;
const device = new Device(new Store(registration.scope), registration.scope);
// Firefox tells of a notification that was clicked that it was closed, too.
const opened = new Set();

worker.addEventListener("push", (event) => event.waitUntil(arrived(readEnvelope(event.data))));
worker.addEventListener("notificationclick", (event) => event.waitUntil(clicked(event.notification, event.action)));
worker.addEventListener("notificationclose", (event) => event.waitUntil(closed(event.notification)));
worker.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(moved()));
worker.addEventListener("sync", (/** @type {any} */ event) => event.waitUntil(device.settle()));

/** @param {Envelope | null} envelope */
async function arrived(envelope) {
  const nonce = envelope?.options?.data?.bellhop_target_nonce;
  if (typeof nonce === "string") {
    await device.prove(nonce);
    return;
  }
  const state = await device.read().catch(() => null);
  const own = envelope !== null && state !== null && (await isForUs(envelope, state).catch(() => false));
  if (own) {
    await showOwn(envelope, state);
  } else {
    await show(neutralNotification(state));
  }
  // The push service was reached: so may be the gateway.
  await device.settle();
}

/**
 * @param {Envelope} envelope
 * @param {State} state As it was when the stamp was found right.
 */
async function showOwn(envelope, state) {
  const own = ownNotification(envelope, state);
  const windows = await clients.matchAll({ type: "window", includeUncontrolled: true });
  const visible = windows.some((each) => each.visibilityState === "visible");
  if (own.title) {
    await show(own);
    if ((await device.read()).generation !== state.generation) {
      // A logout came while it was being shown.
      await closeShown(envelope.message_id);
      await show(neutralNotification(state));
      return;
    }
  } else if (!visible) {
    // Nothing to show, which browsers allow only while the page can be seen.
    await show(neutralNotification(state));
  }
  for (const each of windows) {
    each.postMessage({ [MARK]: "message", notification: own });
  }
  if (envelope.badge !== undefined) {
    await (envelope.badge ? navigator.setAppBadge?.(envelope.badge) : navigator.clearAppBadge?.())?.catch(() => {});
  }
  await device.confirm(state.generation);
  if (envelope.message_id) {
    await device.note(envelope.message_id, "SEEN", state.generation);
  }
}

/**
 * @param {Notification} notification
 * @param {string} action
 */
async function clicked(notification, action) {
  const mark = notification.data?.[MARK];
  notification.close();
  if (!mark) {
    return;
  }
  opened.add(mark.messageId);
  const { config, generation } = await device.read();
  const ours = mark.generation === generation;
  const home = config?.home ?? registration.scope;
  const url = ours ? destination(mark, action, home) : home;
  const windows = await clients.matchAll({ type: "window", includeUncontrolled: true });
  const there = windows.find((each) => each.url === url) ?? (url === home ? windows[0] : undefined);
  const client = await (there ? there.focus() : clients.openWindow(url)).catch(() => null);
  if (!ours) {
    return;
  }
  client?.postMessage({ [MARK]: "open", action, notification: shownAs(notification) });
  if (mark.messageId) {
    await device.note(mark.messageId, "OPENED", mark.generation);
    await device.settle();
  }
}

/** @param {Notification} notification */
async function closed(notification) {
  const mark = notification.data?.[MARK];
  if (mark?.messageId && !opened.has(mark.messageId)) {
    await device.note(mark.messageId, "DISMISSED", mark.generation);
    await device.settle();
  }
}

async function moved() {
  const { binding, config } = await device.read();
  if (binding && config) {
    await device.moved(await subscribe(registration.pushManager, config));
  }
}

/** @param {{title: string, options: NotificationOptions}} notification */
function show({ title, options }) {
  return registration.showNotification(title, options);
}

/** @param {string | undefined} messageId */
async function closeShown(messageId) {
  for (const each of await registration.getNotifications()) {
    if (each.data?.[MARK]?.messageId === messageId) {
      each.close();
    }
  }
}

/** @param {Notification} notification */
function shownAs({ title, body, tag, data }) {
  return { title, options: { body, tag, data } };
}
