// What `../beacon.js` is made of: that file is this one without comments and indentation. A test sees to it, and makes it
// anew with `UPDATE_EXPECT=1 cargo test -p forebay-cli --test forebay the_client_is_small`.

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
const isLarge = (line) => bytes(line) > BATCH_BYTES;
const text = (value) => (value == null ? undefined : String(value).slice(0, TEXT_MAX));
const isHidden = () => document.visibilityState == "hidden";
// Servers never see what is behind `#`; sites put tokens there that nobody else is to see either.
const page = () => location.href.split("#")[0];

export function start(url, { fields, interval = INTERVAL, views = true, errors = true } = {}) {
  let isOff = navigator.globalPrivacyControl;

  // Lines of JSON that neither a server has confirmed nor the browser has promised to send.
  let waiting = [];
  let failures = 0;
  let failuresMax = 20; // A quarter of an hour, as long as there was no answer at all.
  let timer;
  // Whether lines are under way, by whether they are kept alive when the page ends.
  const isSending = {};

  const event = (action, more) => {
    if (isOff) return;
    const usual = { "@timestamp": new Date(), "event.id": id(), "event.action": action, "url.full": page() };
    // Half a surrogate pair, as when a text was cut, is not JSON.
    const line = JSON.stringify({ ...usual, ...fields, ...more }, (_, value) => value?.toWellFormed?.() ?? value);
    waiting = [...waiting, line].slice(-WAITING_MAX);
    // A hidden page may never run again.
    if (isHidden()) queueMicrotask(leave);
    else if (failures || waiting.length < SOON) later();
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
    if (!waiting[0] || isSending[keepalive]) return;
    let left = BATCH_BYTES;
    const lines = waiting.filter((line, nth) => (left -= bytes(line) + 1) >= 0 || !nth);
    let isDone;
    isSending[keepalive] = true;
    try {
      const body = lines.join("\n");
      const signal = AbortSignal.timeout?.(RETRY_MAX);
      const { status } = await fetch(url, { method: "POST", body, credentials: "omit", keepalive, signal });
      failuresMax = Infinity;
      // What the server does not want now it will not want later either.
      isDone = status < 500 && status != 408 && status != 429;
    } catch {}
    isSending[keepalive] = false;
    if (isDone) {
      failures = 0;
      waiting = waiting.filter((line) => !lines.includes(line));
    } else if (!keepalive && waiting[0]) {
      // A page that may not send gets to see no answer: then it is not sending for ever.
      if (++failures > failuresMax) {
        isOff = true;
        waiting = [];
      }
      return later();
    }
    // It may have been too much to be kept alive.
    send();
  };

  const leave = () => {
    // What no beacon can hold is not to keep back what is behind it.
    let left = waiting.filter((line) => !isLarge(line));
    for (let count = left.length; count; ) {
      // The browser may have no room for so many.
      if (navigator.sendBeacon?.(url, left.slice(0, count).join("\n"))) count = (left = left.slice(count)).length;
      else count >>= 1;
    }
    // Nobody tells what becomes of a beacon: a server that did not answer before is asked again, if the page lives on.
    if (failures) return later();
    waiting = [...left, ...waiting.filter(isLarge)];
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
      view = {
        "transaction.id": id(),
        "url.full": page(),
        "http.request.referrer": referrer || undefined,
        ...fields,
      };
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
      leave();
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
