/** What every discovery method keeps to, as tests over a place that can be filled and broken. */
import { describeError, isE2dError } from "../../lib/errors.ts";
import type { DiscoveryMethod } from "../../lib/discovery/method.ts";
import type { FakeInstance } from "../support/clouds/fake_cloud.ts";
import type { TestClock } from "../support/test_clock.ts";
import type { TestLog } from "../support/test_log.ts";
import { assert, assertEquals } from "../support/assert.ts";

/** Made anew for each test. */
export interface Place {
  method: DiscoveryMethod;
  clock: TestClock;
  log: TestLog;
  /** Occurs in no error and no log line. */
  secret?: string;
  /** `tagged` are the cluster's, `others` are not. The first of `tagged` is this node. */
  fill(tagged: readonly FakeInstance[], others?: readonly FakeInstance[]): void;
  break(fault: string | undefined): void;
}

export interface MethodContract {
  name: string;
  open(): Place;
  /** Each fault the place can have, and the code of the error it must lead to. */
  faults: Readonly<Record<string, string>>;
  /** Faults that must be told within two seconds. */
  quick?: readonly string[];
  /** Lists that know of machines and not only of addresses. */
  knowsInstances?: boolean;
  /** Instances of the large test. */
  many?: number;
}

const never = new AbortController().signal;

export function instances(count: number, from = 0): FakeInstance[] {
  return Array.from({ length: count }, (_, at) => ({
    name: `node-${from + at}`,
    address: `10.0.${Math.floor((from + at) / 250)}.${(from + at) % 250 + 1}`,
    publicAddress: "203.0.113.9",
    tags: {},
  }));
}

const hostsOf = (peers: readonly { host: string }[]) => peers.map(({ host }) => host).sort();
const addressesOf = (filled: readonly FakeInstance[]) => filled.map(({ address }) => address!).sort();

export function testDiscoveryMethod(contract: MethodContract): void {
  const test = (promise: string, run: (place: Place) => Promise<void>) =>
    Deno.test(`${contract.name} ${promise}`, async () => {
      const place = contract.open();
      await run(place);
      if (place.secret !== undefined) assert(!place.log.text.includes(place.secret), "the log has the secret");
    });

  /** The peers, while virtual time passes. */
  const ask = async ({ method, clock }: Place) => {
    const outcome = await clock.settle(method.peers(never));
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  };

  test("finds the private addresses of the cluster's instances, and no others", async (place) => {
    place.fill(instances(3), instances(2, 100));
    assertEquals(hostsOf(await ask(place)), addressesOf(instances(3)));
    assertEquals(place.method.name, contract.name.split(" ")[0]);
  });

  test("finds a replaced instance when it is asked again", async (place) => {
    place.fill(instances(3));
    await ask(place);
    const replaced = [...instances(2), ...instances(1, 7)];
    place.fill(replaced);
    assertEquals(hostsOf(await ask(place)), addressesOf(replaced));
  });

  test("finds thousands, over all pages", async (place) => {
    const many = instances(contract.many ?? 2345);
    place.fill(many);
    assertEquals(hostsOf(await ask(place)), addressesOf(many));
  });

  if (contract.knowsInstances ?? true) {
    test("leaves out stopped instances, and says which have no private address", async (place) => {
      const { address: _, ...bare } = instances(1, 3)[0]!;
      place.fill([...instances(2), { ...instances(1, 2)[0]!, stopped: true }, bare]);
      assertEquals(hostsOf(await ask(place)), addressesOf(instances(2)));
      await ask(place);
      const said = place.log.lines.filter(({ message }) => message.includes("without a private address"));
      assertEquals(said.length, 1);
      assertEquals(said[0]!.fields["count"], 1);
    });
  }

  test("stops when it is told to, with the reason it was given", async (place) => {
    place.fill(instances(3));
    const stopped = AbortSignal.abort(new Error("enough"));
    const outcome = await place.clock.settle(place.method.peers(stopped));
    assertEquals(outcome.status === "rejected" && outcome.reason.message, "enough");
  });

  for (const [fault, code] of Object.entries(contract.faults)) {
    test(`answers ${fault} with ${code}, and goes on when that is over`, async (place) => {
      place.fill(instances(3));
      place.break(fault);
      const outcome = await place.clock.settle(place.method.peers(never));
      assert(outcome.status === "rejected", `${fault} must not be an answer`);
      const error = outcome.reason;
      assert(isE2dError(error, code), `expected ${code}, got ${error}`);
      assert(error.message.startsWith("Cannot "), error.message);
      const all = `${describeError(error)} ${error.stack} ${Deno.inspect(error)} ${JSON.stringify(error)}`;
      if (place.secret !== undefined) assert(!all.includes(place.secret), "the error has the secret");
      assert(outcome.tookMs < 60_000);
      if (contract.quick?.includes(fault)) assert(outcome.tookMs < 2_000, `took ${outcome.tookMs} ms`);
      place.break(undefined);
      assertEquals(hostsOf(await ask(place)), addressesOf(instances(3)));
    });
  }
}
