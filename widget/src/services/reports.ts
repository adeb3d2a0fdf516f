/**
 * What visitors were shown that went wrong, told to the server under the same ID: "answered with 200, and the visitor
 * saw nothing" is then in the log. It is little, and it never fails.
 */
import type {Failure} from '../failure';
import {call} from './api';
import {pageAddress} from './questions';

const AT_MOST = 5;

export class Reports {
  readonly #base: string;
  #left = AT_MOST;
  #unsent: Failure[] = [];

  constructor(apiBase: string) {
    this.#base = apiBase;
  }

  /** `failure` was shown. */
  shown(failure: Failure): void {
    if (this.#left <= 0) return;
    this.#left -= 1;
    this.#send(failure);
  }

  /** The server can be reached again: tell it what it could not be told. */
  retry(): void {
    for (const failure of this.#unsent.splice(0)) this.#send(failure);
  }

  #send(failure: Failure): void {
    const {kind, code, requestId} = failure;
    const page = typeof location === 'undefined' ? null : pageAddress(location);
    call(this.#base, '/api/v1/analytics/event', {
      method: 'POST',
      keepalive: true,
      body: {
        name: 'error_shown',
        ...(page === null ? {} : {page_url: page}),
        properties: {kind, ...(code ? {code} : {})},
      },
      ...(requestId === null ? {} : {requestId}),
    }).catch((error: Failure) => {
      if (error.kind === 'offline' || error.kind === 'unreachable') this.#unsent.push(failure);
    });
  }
}
