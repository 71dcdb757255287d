/** The store that other tests use keeps the contract of the real ones. */
import { MemoryStore } from "../support/memory_store.ts";
import { testStore } from "./contract.ts";

testStore("memory store", async (use) => {
  const store = new MemoryStore();
  store.nowMs = Date.UTC(2026, 0);
  await use(store, "");
});
