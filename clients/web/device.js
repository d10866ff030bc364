/**
 * This browser as a device of Bellhop's: its logins and logouts, its target, and what waits to be told to the server.
 * The page and the service worker share it; what they keep is in the store, and calls to the server are made by one of
 * them at a time.
 */

import { endBinding, replaceBinding, unregistration } from "./binding.js";
import { BellhopError, request } from "./gateway.js";
import { addInteraction, configOf, deliver, ownHeaders } from "./outbox.js";
import { base64 } from "./stamp.js";
import { targetOf } from "./subscription.js";

/** @typedef {import("./store.js").State} State */
/** @typedef {import("./store.js").Binding} Binding */

/**
 * @typedef {object} Facts What an app says about this installation; each may be left out.
 * @property {string} [locale]
 * @property {string} [timeZone]
 * @property {string} [appVersion]
 * @property {Record<string, string>} [attributes]
 */

/**
 * @typedef {object} Door How a login is proved to the gateway.
 * @property {string} prefix Path before the device id.
 * @property {Record<string, string>} headers
 * @property {object} body What the request says beside the rest.
 */

export class Device {
  /**
   * @param {import("./store.js").Store} store
   * @param {string} scope Of the service worker.
   * @param {Pick<LockManager, "request">} [locks]
   */
  constructor(store, scope, locks = navigator.locks) {
    this.store = store;
    this.#lock = `bellhop:${scope}`;
    this.#locks = locks;
  }

  #lock;
  #locks;

  /**
   * Begins a login, or a registration for nobody: it holds here from now on. Begun again for the same person, it is the
   * same login.
   *
   * @param {string | null} userId null: nobody.
   * @returns {Promise<{generation: number, deviceId: string, changed: boolean}>} `changed`: it is another login.
   */
  begin(userId) {
    return this.store.update((state) => {
      const changed = !state.binding || state.binding.userId !== userId || state.binding.lost;
      if (changed) {
        replaceBinding(state, userId);
      }
      return { generation: state.generation, deviceId: state.deviceId, changed };
    });
  }

  /**
   * Carries out on the server what has begun here. A login that is refused for good is over here, too, unless it has
   * stood before.
   *
   * @param {number} generation Of the login.
   * @param {Door} door
   * @param {PushSubscription} subscription
   * @param {Facts} facts
   * @returns {Promise<void>} Rejects with BellhopError.
   */
  async bind(generation, door, subscription, facts) {
    try {
      await this.#exclusively(async () => {
        await deliver(this.store);
        await this.#register(generation, door, subscription, facts);
      });
    } catch (error) {
      if (error instanceof BellhopError && error.status >= 400 && !error.retryable) {
        await this.store.update((state) => {
          if (state.generation === generation && state.binding?.pending) {
            endBinding(state);
          }
        });
      }
      throw error;
    }
  }

  /** Ends the login here and now. `settle` tells the server. */
  async end() {
    await this.store.update(endBinding);
  }

  /**
   * Tells the server what waits.
   *
   * @returns {Promise<boolean>} Whether nothing waits any more.
   */
  async settle() {
    return this.#exclusively(() => deliver(this.store)).then(
      () => true,
      () => false,
    );
  }

  /**
   * Tells the server where this browser is found, if that is another place than it knows.
   *
   * @param {PushSubscription | null} subscription
   */
  async moved(subscription) {
    await this.#exclusively(async () => {
      const state = await this.store.read();
      const { binding } = state;
      if (!subscription || !binding || binding.pending || binding.lost || binding.endpoint === subscription.endpoint) {
        return;
      }
      await this.#update(state, { webPush: targetOf(subscription) }, (known) => (known.endpoint = subscription.endpoint));
    });
  }

  /**
   * Notes that the server has a login, as a push under its key shows.
   *
   * @param {number} generation
   */
  async confirm(generation) {
    await this.store.update((state) => {
      if (state.binding && state.generation === generation) {
        state.binding.pending = false;
      }
    });
  }

  /**
   * Shows the server that a target is this browser's, by what was pushed to it.
   *
   * @param {string} nonce
   */
  async prove(nonce) {
    await this.#exclusively(async () => this.#update(await this.store.read(), { targetNonce: nonce }, () => {}));
  }

  /**
   * Notes what a person did with a notification, to be told once.
   *
   * @param {string} messageId
   * @param {"SEEN" | "OPENED" | "DISMISSED"} interaction
   * @param {number} generation Of the login that it was shown to.
   */
  async note(messageId, interaction, generation) {
    await this.store.update((state) => {
      if (state.binding && state.generation === generation) {
        addInteraction(state, state.binding.secret, messageId, interaction);
      }
    });
  }

  /** @returns {Promise<State>} */
  read() {
    return this.store.read();
  }

  /**
   * @param {number} generation
   * @param {Door} door
   * @param {PushSubscription} subscription
   * @param {Facts} facts
   */
  async #register(generation, door, subscription, facts) {
    const state = await this.store.read();
    const { binding } = state;
    if (!binding || state.generation !== generation) {
      throw new BellhopError("SUPERSEDED", "Another login or logout came later.");
    }
    const body = {
      ...facts,
      ...door.body,
      webPush: targetOf(subscription),
      bindingGeneration: String(generation),
      ...(binding.key && { bindingKey: base64(binding.key) }),
    };
    const put = (/** @type {string} */ deviceId, /** @type {Record<string, string>} */ proof) =>
      request(
        configOf(state).gateway,
        "PUT",
        `${door.prefix}/${encodeURIComponent(deviceId)}`,
        { ...door.headers, ...proof },
        body,
      );
    const proof = { "device-secret": binding.secret };
    let answer;
    try {
      answer = await put(state.deviceId, proof);
    } catch (error) {
      if (!(error instanceof BellhopError) || error.status !== 401) {
        throw error;
      }
      // The server knows this device by a secret that was lost with its answer. A person needs none; who is nobody
      // begins anew under another name, and proves by a push that the target is theirs.
      answer = await (binding.userId === null ? put(await this.#rename(), proof) : put(state.deviceId, {}));
    }
    const wrong = answer.device.userId !== (binding.userId ?? "");
    const stands = await this.store.update((later) => {
      const secret = answer.deviceSecret || binding.secret;
      if (!later.binding || later.generation !== generation) {
        // It ended while the call was under way; with this secret it can be ended there, too.
        later.outbox.push(unregistration(later, secret));
        return false;
      }
      Object.assign(later.binding, { secret, pending: false, endpoint: subscription.endpoint });
      if (wrong) {
        endBinding(later);
      }
      return true;
    });
    if (!stands || wrong) {
      await deliver(this.store).catch(() => {});
      throw stands
        ? new BellhopError("WRONG_USER", `The login is of ${answer.device.userId}, not of ${binding.userId}.`)
        : new BellhopError("SUPERSEDED", "Another login or logout came later.");
    }
  }

  /**
   * @param {State} state
   * @param {object} body
   * @param {(binding: Binding) => void} note What to remember once it is done.
   */
  async #update(state, body, note) {
    const { binding, deviceId, generation } = state;
    if (!binding) {
      return;
    }
    const path = `/v1/devices/${encodeURIComponent(deviceId)}`;
    /** @type {(change: (binding: Binding) => void) => Promise<void>} */
    const remember = (change) =>
      this.store.update((later) => {
        if (later.binding && later.generation === generation) {
          change(later.binding);
        }
      });
    try {
      await request(configOf(state).gateway, "PATCH", path, ownHeaders(state, binding.secret), body);
    } catch (error) {
      if (error instanceof BellhopError && (error.status === 401 || error.reason === "DEVICE_NOT_FOUND")) {
        await remember((known) => (known.lost = true));
      }
      throw error;
    }
    await remember(note);
  }

  /** @returns {Promise<string>} The new device id. */
  #rename() {
    return this.store.update((state) => (state.deviceId = crypto.randomUUID()));
  }

  /**
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  #exclusively(work) {
    return /** @type {Promise<any>} */ (this.#locks.request(this.#lock, work));
  }
}
