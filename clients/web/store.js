/**
 * What a browser keeps, in IndexedDB: one record, so that each change of it is one transaction, whether a page or the
 * service worker makes it.
 */

/**
 * @typedef {object} Binding Whose notifications this browser shows, from when a login (or an anonymous registration)
 *   began, confirmed or not.
 * @property {string | null} userId null: nobody's.
 * @property {string} secret The device secret: made here before the first call, or the server's own.
 * @property {Uint8Array<ArrayBuffer> | null} key The binding key of this login; null for nobody's.
 * @property {boolean} pending Until the server is known to have the login.
 * @property {string | null} endpoint The push endpoint that the server was last told.
 * @property {boolean} lost The server has this login no more: it takes a new one.
 */

/**
 * @typedef {object} Call One request that waits until it can be made.
 * @property {string} id
 * @property {string} method
 * @property {string} path
 * @property {string} secret The device secret that it is made with.
 * @property {object | null} body
 */

/**
 * @typedef {object} State
 * @property {string} deviceId Names this browser; made once.
 * @property {number} generation Counts logins and logouts: the server takes nothing that comes late.
 * @property {Binding | null} binding null: nobody is logged in, nothing is registered.
 * @property {Call[]} outbox In the order in which they are made.
 * @property {import("./notification.js").Config | null} config What the page set; null before it first ran.
 */

/** @returns {State} Of a browser that was never here. */
export function blankState() {
  return { deviceId: crypto.randomUUID(), generation: 0, binding: null, outbox: [], config: null };
}

const STORE = "state";
const RECORD = "device";

/** The record of one service worker scope. */
export class Store {
  #name;
  /** @type {Promise<IDBDatabase> | null} */
  #opened = null;

  /** @param {string} scope Of the service worker registration: each scope has a record of its own. */
  constructor(scope) {
    this.#name = `bellhop:${scope}`;
  }

  /** @returns {Promise<State>} */
  read() {
    return this.update((state) => state);
  }

  /**
   * Changes the record in one transaction, which is on the disk when this returns.
   *
   * @template T
   * @param {(state: State) => T} change Changes what it is given, and must not wait for anything.
   * @returns {Promise<T>} What `change` returns.
   */
  async update(change) {
    const database = await this.#open();
    return new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, "readwrite", { durability: "strict" });
      const records = transaction.objectStore(STORE);
      const found = records.get(RECORD);
      /** @type {T} */
      let result;
      found.onsuccess = () => {
        const state = found.result ?? blankState();
        try {
          result = change(state);
          records.put(state, RECORD);
        } catch (error) {
          reject(error);
          transaction.abort();
        }
      };
      transaction.oncomplete = () => resolve(result);
      transaction.onabort = () => reject(transaction.error);
    });
  }

  #open() {
    this.#opened ??= new Promise((resolve, reject) => {
      const asked = indexedDB.open(this.#name, 1);
      asked.onupgradeneeded = () => asked.result.createObjectStore(STORE);
      asked.onerror = () => reject(asked.error);
      asked.onsuccess = () => {
        const forget = () => (this.#opened = null);
        asked.result.onclose = forget;
        asked.result.onversionchange = () => {
          asked.result.close();
          forget();
        };
        resolve(asked.result);
      };
    });
    this.#opened.catch(() => (this.#opened = null));
    return this.#opened;
  }
}
