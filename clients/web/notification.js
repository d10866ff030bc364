/** What becomes of a push: which notification a browser shows, and whether it may show the text that came. */

import { sameStamp, stampOf } from "./stamp.js";

/**
 * @typedef {object} Action A button of a notification.
 * @property {string} action Its name, which the click reports.
 * @property {string} title
 * @property {string} [icon]
 * @property {string} [link] What it opens instead of the notification's own link.
 */

/**
 * @typedef {object} Config What the page sets, and the worker keeps to.
 * @property {string} gateway URL without a slash at the end.
 * @property {string} appId
 * @property {{title: string, body?: string, icon?: string}} neutral Shown instead of what was meant for somebody else.
 * @property {{icon?: string, badge?: string}} defaults Of notifications that bring none.
 * @property {Record<string, Action[]>} actions By category.
 * @property {string} home URL that a click without a link leads to.
 */

/**
 * @typedef {object} Envelope What Bellhop sends (docs/web-push.md).
 * @property {number} bellhop
 * @property {string} [title]
 * @property {Record<string, any>} [options]
 * @property {string} [category]
 * @property {number} [badge]
 * @property {boolean} [silent]
 * @property {string} [message_id]
 * @property {string} [stamp]
 */

/** The mark in `data` of every notification that is shown here. */
export const MARK = "bellhop";
export const NEUTRAL_TAG = "bellhop-neutral";
const NEUTRAL = { title: "You have a new notification" };

/**
 * @param {{text(): string} | null} data Of a push event.
 * @returns {Envelope | null} null: it is not Bellhop's.
 */
export function readEnvelope(data) {
  try {
    const found = JSON.parse(data?.text() ?? "");
    return typeof found?.bellhop === "number" ? found : null;
  } catch {
    return null;
  }
}

/**
 * Whether the text of a push was meant for whoever is logged in now.
 *
 * While somebody is, a stamp must fit; while nobody is, there must be none.
 *
 * @param {Envelope} envelope
 * @param {import("./store.js").State} state
 * @returns {Promise<boolean>}
 */
export async function isForUs(envelope, state) {
  const key = state.binding?.key;
  if (!key) {
    return envelope.stamp === undefined;
  }
  const { stamp, message_id: messageId } = envelope;
  if (typeof stamp !== "string" || typeof messageId !== "string" || !state.config) {
    return false;
  }
  return sameStamp(await stampOf(key, state.config.appId, state.deviceId, messageId), stamp);
}

/**
 * The notification with the text that came.
 *
 * @param {Envelope} envelope
 * @param {import("./store.js").State} state
 * @returns {{title: string, options: NotificationOptions}}
 */
export function ownNotification(envelope, state) {
  /** @type {Record<string, any>} */
  const options = { ...state.config?.defaults, ...envelope.options };
  /** @type {Action[] | undefined} */
  const actions = options.actions ?? state.config?.actions[envelope.category ?? ""];
  const mark = {
    ...options.data?.[MARK],
    messageId: envelope.message_id,
    generation: state.generation,
    links: Object.fromEntries((actions ?? []).filter((each) => each.link).map((each) => [each.action, each.link])),
  };
  return {
    title: envelope.title ?? "",
    options: {
      ...options,
      ...(actions && { actions: actions.map(({ action, title, icon }) => ({ action, title, ...(icon && { icon }) })) }),
      ...(envelope.silent && { silent: true }),
      data: { ...options.data, [MARK]: mark },
    },
  };
}

/**
 * The notification that tells nothing; the next one takes its place.
 *
 * @param {import("./store.js").State | null} state null: it cannot be read.
 * @returns {{title: string, options: NotificationOptions}}
 */
export function neutralNotification(state) {
  const { title, ...options } = state?.config?.neutral ?? NEUTRAL;
  return { title, options: { ...options, tag: NEUTRAL_TAG, data: { [MARK]: {} } } };
}

/**
 * Where a click leads.
 *
 * @param {Record<string, any>} mark Of the notification.
 * @param {string} action The button; empty: the notification itself.
 * @param {string} home Where it leads without a link, and what a relative link is relative to.
 * @returns {string} An http or https URL.
 */
export function destination(mark, action, home) {
  const link = mark.links?.[action] ?? mark.link;
  if (typeof link === "string" && URL.canParse(link, home)) {
    const url = new URL(link, home);
    if (url.protocol === "https:" || url.protocol === "http:") {
      return url.href;
    }
  }
  return home;
}
