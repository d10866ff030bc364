/**
 * Stamps, by which a browser knows that a notification was meant for whoever is logged in on it (docs/stamps.md).
 */

const STAMP_BYTES = 12;
const KEY_BYTES = 32;

/** @returns {Uint8Array<ArrayBuffer>} A new binding key: 32 random bytes. */
export function newBindingKey() {
  return crypto.getRandomValues(new Uint8Array(KEY_BYTES));
}

/**
 * The stamp of one message for one device: 16 characters of base64url.
 *
 * @param {Uint8Array<ArrayBuffer>} bindingKey 32 bytes.
 * @param {string} appId
 * @param {string} deviceId
 * @param {string} messageId
 * @returns {Promise<string>}
 */
export async function stampOf(bindingKey, appId, deviceId, messageId) {
  const text = new TextEncoder().encode(["bellhop-stamp-v1", appId, deviceId, messageId].join("\n"));
  const key = await crypto.subtle.importKey("raw", bindingKey, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, text));
  return base64(mac.subarray(0, STAMP_BYTES)).replaceAll("+", "-").replaceAll("/", "_");
}

/**
 * Whether two stamps are the same, in a time that does not tell how far they agree.
 *
 * @param {string} ours
 * @param {string} theirs
 * @returns {boolean}
 */
export function sameStamp(ours, theirs) {
  let difference = ours.length ^ theirs.length;
  for (let index = 0; index < ours.length; index++) {
    difference |= ours.charCodeAt(index) ^ theirs.charCodeAt(index);
  }
  return difference === 0;
}

/**
 * @param {Uint8Array} bytes
 * @returns {string} Ordinary base64 with padding, as `bytes` fields have it in JSON.
 */
export function base64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}
