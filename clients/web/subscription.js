/** This browser's subscription at its push service. */

import { BellhopError, request } from "./gateway.js";
import { base64 } from "./stamp.js";

const ASK_AGAIN = 2_000;
const ASK_TIMES = 8;

/**
 * The subscription under the application's present VAPID key, made if there is none; one that was made with another key
 * is given up, since no browser exchanges the key of a subscription.
 *
 * @param {PushManager} pushManager
 * @param {import("./notification.js").Config} config
 * @returns {Promise<PushSubscription>} Rejects with BellhopError.
 */
export async function subscribe(pushManager, config) {
  if (Notification.permission !== "granted") {
    throw new BellhopError("PERMISSION_DENIED_BY_USER", "Notifications are not permitted: call askPermission() first.");
  }
  const { vapidPublicKey } = await request(config.gateway, "GET", "/v1/client-config", { "app-id": config.appId });
  if (!vapidPublicKey) {
    throw new BellhopError("PUSH_UNAVAILABLE", "The application has no Web Push credential.");
  }
  const found = await patiently(() => pushManager.getSubscription());
  if (found) {
    const key = found.options.applicationServerKey;
    if (key && base64url(new Uint8Array(key)) === vapidPublicKey) {
      return found;
    }
    await patiently(() => found.unsubscribe());
  }
  return patiently(() => pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: vapidPublicKey }));
}

/**
 * Asks, and asks again while no answer comes: Firefox loses what a page asks of its push service in the first seconds
 * after its start. The first answer counts.
 *
 * @template T
 * @param {() => Promise<T>} ask
 * @returns {Promise<T>} Rejects with BellhopError.
 */
export async function patiently(ask) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  try {
    return await new Promise((resolve, reject) => {
      let times = 0;
      const again = () => {
        if (times++ === ASK_TIMES) {
          reject(new Error("no answer"));
          return;
        }
        ask().then(resolve, reject);
        timer = setTimeout(again, ASK_AGAIN);
      };
      again();
    });
  } catch (cause) {
    throw new BellhopError("PUSH_UNAVAILABLE", "The browser's push service refuses, or does not answer.", { cause });
  } finally {
    clearTimeout(timer);
  }
}

/**
 * @param {PushSubscription} subscription
 * @returns {object} As the contract's WebPushTarget.
 */
export function targetOf(subscription) {
  const { endpoint, keys } = subscription.toJSON();
  const key = subscription.options?.applicationServerKey;
  return {
    endpoint,
    p256dh: keys?.p256dh,
    auth: keys?.auth,
    ...(key && { vapidPublicKey: base64(new Uint8Array(key)) }),
  };
}

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
