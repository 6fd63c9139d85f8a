/** A value of a field of an event. */
export type Value = string | number | boolean | Date | null | undefined | Value[] | { [name: string]: Value };

/** Fields of an event, by their names in the Elastic Common Schema: `{ "user.id": "7" }` or `{ user: { id: "7" } }`. */
export type Fields = { [name: string]: Value };

/** What may be chosen. */
export interface Options {
  /** Fields that all events have, for example `{ "service.name": "blog" }`. They may stand for what the client fills. */
  fields?: Fields;
  /** For how many milliseconds events wait for others, fifty at most. By default 5000. Nothing waits when a page ends. */
  interval?: number;
  /** Whether views of pages are sent. By default `true`. */
  views?: boolean;
  /** Whether errors that nobody catches are sent. By default `true`. */
  errors?: boolean;
}

/** A measurement, as the functions of the library web-vitals hand it on. */
export interface Metric {
  name: string;
  value: number;
  rating?: string;
  id?: string;
  navigationType?: string;
}

/** What a page may send besides. The functions need no `this`. At most 1000 events wait for a server. */
export interface Client {
  /** An event of your own: `event("added-to-cart", { "labels.article": "4711" })`. */
  event(action: string, fields?: Fields): void;
  /** An error that was caught: `catch (thrown) { error(thrown) }`. At most 100 errors of a page are sent. */
  error(thrown: unknown, fields?: Fields): void;
  /** A log event: `log("warn", "the cart is slow")`. */
  log(level: string, message: string, fields?: Fields): void;
  /** A measurement: `onLCP(vital)`. */
  vital(metric: Metric): void;
}

/**
 * Begins to watch the page. Once for a page.
 *
 * @param url where the `beacon` source listens: `"https://beacon.example.com/beacon"`
 */
export function start(url: string, options?: Options): Client;
