// The expression templates there are: named expressions that a photo or one's target can make.

const PATH = "/api/templates";

/** In the order in which they are offered: the built-in ones as the server has them, then own ones by title. */
export function inOrder(templates) {
  const own = templates.filter((template) => !template.built_in);
  own.sort((a, b) => a.title.localeCompare(b.title));
  return [...templates.filter((template) => template.built_in), ...own];
}

/** The list, fetched once; subscribers follow it. */
export class Templates {
  constructor() {
    this.list = [];
    this.failed = false;
    this.loading = null;
    this.listeners = [];
  }

  /** Call `listener()` now and after each change. */
  subscribe(listener) {
    this.listeners.push(listener);
    listener();
  }

  /** Fetch the list, unless it is there or on its way. */
  load() {
    if (this.list.length === 0) this.loading ??= this.#fetch();
    return this.loading;
  }

  find(name) {
    return this.list.find((template) => template.name === name) ?? null;
  }

  async #fetch() {
    try {
      const response = await fetch(PATH);
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      this.list = inOrder((await response.json()).templates);
      this.failed = false;
    } catch {
      this.failed = true;
      this.loading = null;
    }
    for (const listener of this.listeners) listener();
  }
}
