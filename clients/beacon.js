// Sends what happens on a page to Forebay's `beacon` source. README.md says how, beacon.d.ts has the types.

const INTERVAL = 5000; // Milliseconds, as all times but those that are sent.
const RETRY_MAX = 60_000;
const WAITING_MAX = 1000; // So many events wait at most; beyond that the oldest are abandoned.
const SOON = 50; // So many do not wait for the interval: what waits when the page ends should fit into a beacon.
const ERRORS_MAX = 100; // A loop that throws must not send for ever.
const TEXT_MAX = 4096; // Characters of a message or a stack.
const BATCH_BYTES = 60_000; // All beacons under way share 65,536 bytes (Fetch Standard, "inflight keep-alive bytes").

const id = () =>
  // `randomUUID` is only there for pages that came over HTTPS.
  crypto.randomUUID?.() ??
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const bytes = (text) => new Blob([text]).size;
const text = (value) => (value == null ? undefined : String(value).slice(0, TEXT_MAX));
const isHidden = () => document.visibilityState == "hidden";
const page = () => location.href.split("#")[0];

export function start(url, { fields, interval = INTERVAL, views = true, errors = true } = {}) {
  let isOff = navigator.globalPrivacyControl;

  // Lines of JSON that neither a server has confirmed nor the browser has promised to send.
  let waiting = [];
  let failures = 0;
  let failuresMax = 20; // A quarter of an hour, as long as there was no answer at all.
  let isSending;
  let timer;

  const event = (action, more) => {
    if (isOff) return;
    const usual = { "@timestamp": new Date(), "event.id": id(), "event.action": action, "url.full": location.href };
    // Half a surrogate pair, as when a text was cut, is not JSON.
    const line = JSON.stringify({ ...usual, ...fields, ...more }, (_, value) => value?.toWellFormed?.() ?? value);
    waiting = [...waiting, line].slice(-WAITING_MAX);
    // A hidden page may never run again.
    if (isHidden()) queueMicrotask(leave);
    else if (waiting.length < SOON || failures) later();
    else send();
  };

  const later = () => {
    timer ??= setTimeout(() => {
      timer = null;
      send();
    }, failures ? Math.min(RETRY_MAX, 500 * 2 ** failures) : interval);
  };

  // Sends the first lines, and learns from the answer whether they have arrived.
  const send = async (keepalive = false) => {
    if (!waiting[0] || isSending) return;
    let left = BATCH_BYTES;
    const lines = waiting.filter((line, nth) => (left -= bytes(line) + 1) >= 0 || !nth);
    let isDone;
    isSending = true;
    try {
      const body = lines.join("\n");
      const signal = AbortSignal.timeout?.(RETRY_MAX);
      const { status } = await fetch(url, { method: "POST", body, credentials: "omit", keepalive, signal });
      failuresMax = Infinity;
      // What the server does not want now it will not want later either.
      isDone = status < 500 && status != 408 && status != 429;
    } catch {}
    isSending = false;
    // It may have been too much to be kept alive.
    if (!isDone && keepalive) return send();
    failures = isDone ? 0 : failures + 1;
    // A page that may not send gets to see no answer: then it is not sending for ever.
    if (failures > failuresMax) {
      isOff = true;
      waiting = [];
    }
    if (!isDone) return later();
    waiting = waiting.filter((line) => !lines.includes(line));
    send();
  };

  const leave = (isOver) => {
    // Nobody tells what becomes of a beacon. A server that did not answer is better asked again, while there is time.
    if (failures && !isOver) return later();
    let left = waiting;
    for (let count = left.length; count; ) {
      // The browser may have no room for so many.
      if (navigator.sendBeacon(url, left.slice(0, count).join("\n"))) count = (left = left.slice(count)).length;
      else count >>= 1;
    }
    // A page may come back, and then asks the server.
    if (failures) return;
    waiting = left;
    send(true);
  };

  // A view is over when the visitor goes to another page. While the page is hidden, it rests.
  let view;
  let action;
  let since;
  let seen = page();
  let referrer = document.referrer;

  const look = () => {
    if (isHidden() || since != null) return;
    if (!view) {
      action = "pageview";
      view = { "transaction.id": id(), "url.full": location.href, "http.request.referrer": referrer || undefined };
    }
    since = performance.now();
  };

  const rest = () => {
    if (since == null) return;
    const nanoseconds = Math.round((performance.now() - since) * 1e6);
    since = null;
    event(action, { ...view, "event.duration": nanoseconds });
    action = "pageview-resumed";
  };

  const end = () => {
    rest();
    view = null;
  };

  const navigated = () => {
    if (page() == seen) return;
    end();
    referrer = seen;
    seen = page();
    look();
  };

  let errorsLeft = ERRORS_MAX;
  const error = (thrown, more) => {
    if (errorsLeft-- > 0)
      event("error", {
        "log.level": "error",
        "error.type": text(thrown?.name),
        "error.message": text(thrown?.message ?? thrown),
        "error.stack_trace": text(thrown?.stack),
        ...more,
      });
  };

  if (!isOff) {
    if (views) {
      look();
      if (window.navigation) navigation.addEventListener("currententrychange", navigated);
      else {
        for (const name of ["pushState", "replaceState"]) {
          const original = history[name];
          history[name] = function () {
            original.apply(this, arguments);
            navigated();
          };
        }
        addEventListener("popstate", navigated);
      }
      // From the back/forward cache.
      addEventListener("pageshow", look);
    }
    if (errors) {
      addEventListener("error", ({ error: thrown, message, filename, lineno }) =>
        error(thrown ?? message, { "log.origin.file.name": filename, "log.origin.file.line": lineno }),
      );
      addEventListener("unhandledrejection", ({ reason }) => error(reason));
    }
    document.addEventListener("visibilitychange", () => {
      if (isHidden()) {
        rest();
        leave();
      } else {
        if (views) look();
        send();
      }
    });
    addEventListener("pagehide", () => {
      end();
      leave(true);
    });
    addEventListener("online", () => send());
  }

  return {
    event,
    error,
    log: (level, message, more) => event("log", { "log.level": level, message: text(message), ...more }),
    vital: ({ name, value, rating, id, navigationType }) =>
      event("web-vital", {
        "web_vital.name": name,
        "web_vital.value": value,
        "web_vital.rating": rating,
        "web_vital.id": id,
        "web_vital.navigation_type": navigationType,
      }),
  };
}
