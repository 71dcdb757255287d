/** The part of the DOM that the page uses: this program is type-checked without the DOM library. */
export interface PageElement {
  textContent: string | null;
  className: string;
  hidden: boolean;
  title: string;
  setAttribute(name: string, value: string): void;
  append(...children: PageElement[]): void;
  replaceChildren(...children: PageElement[]): void;
  querySelector(selector: string): PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
  addEventListener(type: string, listener: () => void): void;
}

export interface PageDocument {
  title: string;
  readonly visibilityState: string;
  readonly documentElement: PageElement;
  getElementById(id: string): PageElement | null;
  createElement(name: string): PageElement;
  createElementNS(space: string, name: string): PageElement;
  addEventListener(type: string, listener: () => void): void;
}
