/**
 * Push notifications of a Bellhop server in a web page. docs/web-client.md says how to serve and use it.
 *
 *     const bellhop = new Bellhop({ appId: "shop", gateway: "https://push.shop.example" });
 *     await bellhop.start();
 *     button.onclick = async () => {
 *       if (await bellhop.askPermission()) {
 *         await bellhop.logIn({ userId: "ann", token: () => session.token() });
 *       }
 *     };
 */

import { Device } from "./device.js";
import { BellhopError } from "./gateway.js";
import { MARK } from "./notification.js";
import { Store } from "./store.js";
import { patiently, subscribe } from "./subscription.js";

export { BellhopError };

/**
 * @typedef {object} Options
 * @property {string} appId
 * @property {string} [gateway] URL of the gateway. Default: the page's own origin.
 * @property {string | URL} [worker] URL of the service worker. Default: `bellhop-worker.js` beside this file.
 * @property {string} [scope] Of the service worker. Default: the folder that it lies in.
 * @property {{title: string, body?: string, icon?: string}} [neutral] Shown instead of what was meant for somebody else.
 * @property {{icon?: string, badge?: string}} [defaults] Of notifications that bring none.
 * @property {Record<string, import("./notification.js").Action[]>} [actions] Buttons, by the category of the notification.
 * @property {string} [home] Where a click without a link leads. Default: `/`.
 */

/**
 * @typedef {object} Login
 * @property {string} userId Who logs in: with a token, its subject.
 * @property {() => Promise<string> | string} [token] Gives an OpenID Connect token that the gateway takes.
 * @property {(deviceId: string) => Promise<string> | string} [grant] Gives a bind grant for this device, fetched from your
 *   back end. Either this or `token`.
 */

/**
 * @typedef {object} Status
 * @property {string} deviceId
 * @property {boolean} registered Whether the server reaches this browser.
 * @property {string | null} userId Whose notifications it shows; null: nobody's.
 * @property {boolean} pending A login or registration began, and the server has not answered yet: repeat it.
 * @property {boolean} lost The server has ended it: log in, or register, again.
 * @property {boolean} settled Whether the server knows of all logouts and interactions.
 * @property {NotificationPermission} permission
 */

/**
 * One browser as a device of one application.
 *
 * Events: `message`, when a notification came while a page is open, and `open`, when one was clicked: CustomEvents whose
 * `detail` has the `notification` and, of a click, the `action`.
 */
export class Bellhop extends EventTarget {
  /** @param {Options} options */
  constructor(options) {
    super();
    const { appId, gateway = "", neutral, defaults = {}, actions = {}, home = "/" } = options;
    this.#worker = new URL(options.worker ?? "bellhop-worker.js", options.worker ? location.href : import.meta.url);
    this.#scope = options.scope;
    this.#config = {
      appId,
      gateway: new URL(gateway, location.href).href.replace(/\/+$/, ""),
      neutral: neutral ?? { title: "You have a new notification" },
      defaults,
      actions,
      home: new URL(home, location.href).href,
    };
  }

  #worker;
  #scope;
  #config;
  /** @type {Promise<{registration: ServiceWorkerRegistration, device: Device}> | null} */
  #started = null;

  /** Registers the service worker, and tells the server what waits. Call it on each page; it asks nobody anything. */
  async start() {
    this.#started ??= this.#start();
    this.#started.catch(() => (this.#started = null));
    const { registration, device } = await this.#started;
    this.#catchUp(registration, device);
  }

  /**
   * Asks the person whether notifications may be shown. Browsers want it called from a click.
   *
   * @returns {Promise<boolean>}
   */
  async askPermission() {
    return (await Notification.requestPermission()) === "granted";
  }

  /**
   * Binds this browser to a person. Call it at each login, and at the start of each page while they are logged in: a
   * repeat changes nothing. Another person takes over; the one before is logged out first.
   *
   * @param {Login & import("./device.js").Facts} login
   * @returns {Promise<void>} Rejects with BellhopError; call it again later if that is `retryable`.
   */
  async logIn({ userId, token, grant, ...facts }) {
    if (typeof userId !== "string" || !userId || !token === !grant) {
      throw new TypeError("logIn() wants a userId, and either token or grant.");
    }
    await this.#bind(userId, facts, async (deviceId) => {
      if (token) {
        return { prefix: "/v1/me/devices", headers: { authorization: `Bearer ${await token()}` }, body: {} };
      }
      const headers = { "app-id": this.#config.appId, "bind-grant": (await grant?.(deviceId)) ?? "" };
      return { prefix: "/v1/devices", headers, body: { userId } };
    });
  }

  /**
   * Registers this browser for nobody: it gets what is sent to everyone, to its tags and to itself. Whoever is logged in
   * is logged out.
   *
   * @param {import("./device.js").Facts} [facts]
   * @returns {Promise<void>} Rejects with BellhopError.
   */
  async registerAnonymously(facts = {}) {
    const headers = { "app-id": this.#config.appId };
    await this.#bind(null, facts, async () => ({ prefix: "/v1/anonymous-devices", headers, body: {} }));
  }

  /**
   * Logs out. From its first step on, which needs no network, nothing that was meant for the person is shown here any
   * more; the server is told at once, or as soon as it can be reached.
   *
   * @returns {Promise<boolean>} Whether the server has been told.
   */
  async logOut() {
    const { registration, device } = await this.#ready();
    await device.end();
    await this.#closeShown(registration);
    return this.#settle(registration, device);
  }

  /**
   * Logs out, and gives up the subscription: nothing reaches this browser any more.
   *
   * @returns {Promise<boolean>} Whether the server has been told.
   */
  async unsubscribe() {
    const told = await this.logOut();
    const { registration } = await this.#ready();
    await patiently(async () => (await registration.pushManager.getSubscription())?.unsubscribe());
    return told;
  }

  /** @returns {Promise<Status>} */
  async status() {
    const { device } = await this.#ready();
    const { deviceId, binding, outbox } = await device.read();
    return {
      deviceId,
      registered: binding !== null && !binding.pending && !binding.lost,
      userId: binding?.userId ?? null,
      pending: binding?.pending ?? false,
      lost: binding?.lost ?? false,
      settled: outbox.length === 0,
      permission: Notification.permission,
    };
  }

  /**
   * @param {string | null} userId
   * @param {import("./device.js").Facts} facts
   * @param {(deviceId: string) => Promise<import("./device.js").Door>} open
   */
  async #bind(userId, facts, open) {
    const { registration, device } = await this.#ready();
    const { generation, deviceId, changed } = await device.begin(userId);
    if (changed) {
      await this.#closeShown(registration);
    }
    const subscription = await subscribe(registration.pushManager, this.#config);
    await device.bind(generation, await open(deviceId), subscription, withDefaults(facts));
  }

  async #ready() {
    if (!this.#started) {
      throw new BellhopError("NOT_STARTED", "Call start() first.");
    }
    return this.#started;
  }

  async #start() {
    const registration = await navigator.serviceWorker.register(this.#worker, {
      type: "module",
      ...(this.#scope !== undefined && { scope: this.#scope }),
    });
    const device = new Device(new Store(registration.scope), registration.scope);
    await device.store.update((state) => (state.config = this.#config));
    await active(registration);
    navigator.serviceWorker.addEventListener("message", ({ data }) => {
      const { [MARK]: kind, ...detail } = data ?? {};
      if (kind === "message" || kind === "open") {
        this.dispatchEvent(new CustomEvent(kind, { detail }));
      }
    });
    navigator.serviceWorker.startMessages();
    addEventListener("online", () => this.#catchUp(registration, device));
    return { registration, device };
  }

  /**
   * Tells the server what waits, and where this browser is found now.
   *
   * @param {ServiceWorkerRegistration} registration
   * @param {Device} device
   */
  async #catchUp(registration, device) {
    try {
      await this.#settle(registration, device);
      const { binding } = await device.read();
      if (binding && !binding.pending && !binding.lost) {
        await device.moved(await subscribe(registration.pushManager, this.#config));
      }
    } catch (error) {
      if (!(error instanceof BellhopError)) {
        throw error;
      }
      // status() tells what is left to do.
    }
  }

  /**
   * @param {ServiceWorkerRegistration} registration
   * @param {Device} device
   */
  async #settle(registration, device) {
    const settled = await device.settle();
    if (!settled && "sync" in registration) {
      // Where the browser can, it wakes the worker once there is a network, also without a page.
      await /** @type {any} */ (registration).sync.register("bellhop").catch(() => {});
    }
    return settled;
  }

  /** @param {ServiceWorkerRegistration} registration */
  async #closeShown(registration) {
    for (const each of await registration.getNotifications()) {
      if (each.data?.[MARK]) {
        each.close();
      }
    }
    await navigator.clearAppBadge?.().catch(() => {});
  }
}

/** @param {import("./device.js").Facts} facts */
function withDefaults(facts) {
  return { locale: navigator.language, timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone, ...facts };
}

/** @param {ServiceWorkerRegistration} registration */
async function active(registration) {
  const worker = registration.installing ?? registration.waiting;
  if (registration.active || !worker) {
    return;
  }
  await new Promise((resolve, reject) => {
    const look = () => {
      if (worker.state === "activated") {
        resolve(undefined);
      } else if (worker.state === "redundant") {
        reject(new BellhopError("PUSH_UNAVAILABLE", "The service worker could not be installed."));
      }
    };
    worker.addEventListener("statechange", look);
    look();
  });
}
