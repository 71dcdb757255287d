import { E2dError } from "../errors.ts";

/** With the requested page sizes this is far more than the instances of any cluster. */
const pagesMax = 1000;

/**
 * All items of a paged list. `ask` gets undefined for the first page, then the `next` of the previous page. Throws
 * E2dError `cloud_answer` when a page names itself or an earlier page as the next one.
 */
export async function allPages<Item, Next extends string | number>(
  action: string,
  ask: (page: Next | undefined) => Promise<{ items: readonly Item[]; next: Next | undefined }>,
): Promise<Item[]> {
  const items: Item[] = [];
  const asked = new Set<Next>();
  let page: Next | undefined;
  do {
    const answer = await ask(page);
    // Not push(...): thousands of arguments do not fit on the stack.
    for (const item of answer.items) items.push(item);
    page = answer.next;
    if (page !== undefined && (asked.has(page) || asked.size >= pagesMax)) {
      throw new E2dError("cloud_answer", `Cannot ${action}: the pages of the response do not end`);
    }
    if (page !== undefined) asked.add(page);
  } while (page !== undefined);
  return items;
}
