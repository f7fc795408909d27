import { defineConfig } from "vitest/config";

// Node 20 has it not yet, and vitest needs it to say what failed.
(Map as { groupBy?: unknown }).groupBy ??= <K, T>(items: Iterable<T>, key: (item: T) => K): Map<K, T[]> => {
  const groups = new Map<K, T[]>();
  for (const item of items) groups.set(key(item), [...groups.get(key(item)) ?? [], item]);
  return groups;
};

export default defineConfig({
  test: {
    include: ["test/**/*.test.{ts,tsx}", "ts/**/*.test.{ts,tsx}"],
    globalSetup: ["test/support/setup.ts"],
    // Real servers and stores on a machine that others use too: what must be, is waited for.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    fileParallelism: false,
  },
});
