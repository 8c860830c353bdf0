/**
 * The TypeScript replica against the Rust one, step by step. `COLLAB_SEED`, `COLLAB_FIRST`, `COLLAB_WORLDS`,
 * `COLLAB_LONE` and `COLLAB_STEPS` choose what is compared; see client/differential/README.md.
 */

import { randomInt } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { Comparison } from "./compare.ts";
import { binary, traces } from "./lines.ts";
import { Statistics } from "./statistics.ts";

/** The same in every run, so that what is met at all does not depend on luck. */
const FIXED_SEED = 1;

function setting(name: string): number | undefined {
  const text = process.env[name];
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`${name}=${text} is not a number`);
  return value;
}

const worlds = setting("COLLAB_WORLDS");
const lone = setting("COLLAB_LONE");

async function compare(seed: number): Promise<Statistics> {
  const counts = { worlds: worlds ?? 1500, lone: lone ?? 300 };
  const args = ["--seed", seed, "--worlds", counts.worlds, "--lone", counts.lone].map(String);
  args.push("--first", String(setting("COLLAB_FIRST") ?? 0), "--steps", String(setting("COLLAB_STEPS") ?? 150));
  console.log(`collab-differential traces ${args.join(" ")}`);
  const statistics = new Statistics();
  const comparison = new Comparison(statistics);
  for await (const line of traces(args)) comparison.take(line);
  console.log(statistics.toString());
  return statistics;
}

beforeAll(() => {
  binary();
});

const seed = setting("COLLAB_SEED");

test.runIf(seed === undefined)("a fixed seed: both replicas do the same, and everything was met", async () => {
  const statistics = await compare(FIXED_SEED);
  expect(worlds === 0 || lone === 0 ? [] : statistics.missed()).toEqual([]);
});

test("a seed of this run: both replicas do the same", async () => {
  await compare(seed ?? randomInt(2 ** 47));
});
