/**
 * Tests run in Node; those of views, panel and element say `@vitest-environment happy-dom` in their first line.
 */
import {defineConfig} from 'vitest/config';

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    // A stand-in for the server is quick: whatever takes much longer hangs.
    testTimeout: 60_000,
    restoreMocks: true,
  },
});
