/** Requests to the gateway (docs/gateway.md), and how they fail. */

const DEADLINE = 20_000;

/** A request that the gateway refused, or that got no answer of its. */
export class BellhopError extends Error {
  /**
   * @param {string} reason One of the contract's error reasons without its prefix, or `UNREACHABLE`, `SUPERSEDED`,
   *   `PERMISSION_DENIED_BY_USER`, `PUSH_UNAVAILABLE`, `WRONG_USER`.
   * @param {string} message
   * @param {{status?: number, retryAfter?: number | null, cause?: unknown}} [more] `status` of HTTP, 0: no answer;
   *   `retryAfter` in seconds.
   */
  constructor(reason, message, { status = 0, retryAfter = null, cause } = {}) {
    super(message, { cause });
    this.name = "BellhopError";
    this.reason = reason;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed later. */
  get retryable() {
    return this.reason === "UNREACHABLE" || this.reason === "CONCURRENT_CHANGE" || this.status === 429 || this.status >= 500;
  }
}

/**
 * Makes one request.
 *
 * An answer that is not the gateway's (a proxy's page, a hotel's login page) counts as none.
 *
 * @param {string} gateway Its URL, without a slash at the end.
 * @param {string} method
 * @param {string} path From `/v1` on.
 * @param {Record<string, string>} headers
 * @param {object | null} [body]
 * @returns {Promise<any>} The answer. Rejects with BellhopError.
 */
export async function request(gateway, method, path, headers, body = null) {
  /** @type {Response} */
  let response;
  let answer;
  try {
    response = await fetch(gateway + path, {
      method,
      headers: body === null ? headers : { ...headers, "content-type": "application/json" },
      body: body === null ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
      signal: AbortSignal.timeout(DEADLINE),
    });
    answer = await response.json();
  } catch (cause) {
    throw new BellhopError("UNREACHABLE", "The gateway cannot be reached.", { cause });
  }
  if (response.ok) {
    return answer;
  }
  const details = answer?.error?.details;
  const told = Array.isArray(details) ? details.find((each) => typeof each?.reason === "string")?.reason : undefined;
  const reason = told ?? answer?.error?.status;
  if (typeof reason !== "string") {
    throw new BellhopError("UNREACHABLE", `Something else than the gateway answered ${response.status}.`);
  }
  throw new BellhopError(reason.replace(/^ERROR_REASON_/, ""), String(answer.error.message), {
    status: response.status,
    retryAfter: Number(response.headers.get("retry-after")) || null,
  });
}
