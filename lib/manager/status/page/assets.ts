/** Serves the files of the page, with headers that allow no content from elsewhere. */
import { html, icon } from "./html.ts";
import { pageScript } from "./script.ts";
import { css } from "./style.ts";

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Undefined for a path that is not a file of the page. */
export function pageAsset(path: string): Response | undefined {
  switch (path) {
    case "/":
      return asset(html, "text/html");
    case "/page.css":
      return asset(css, "text/css");
    case "/page.js":
      return asset(pageScript(), "text/javascript");
    case "/page.svg":
      return asset(icon, "image/svg+xml");
    default:
      return undefined;
  }
}

function asset(text: string, type: string): Response {
  return new Response(text, {
    headers: {
      "content-type": `${type}; charset=utf-8`,
      // An upgraded e2d serves another page.
      "cache-control": "no-store",
      "content-security-policy": policy,
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "referrer-policy": "no-referrer",
      "x-content-type-options": "nosniff",
      "x-frame-options": "DENY",
    },
  });
}
