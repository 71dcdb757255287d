import type { Network } from "../ports.ts";

/** The interfaces and routes of this machine. */
export const systemNetwork: Network = {
  addresses() {
    return Deno.networkInterfaces().map(({ name, address }) => ({
      device: name,
      address: address.replace(/%.*$/, ""),
    }));
  },

  async defaultDevices() {
    if (Deno.build.os === "linux") {
      const [four, six] = await Promise.all([
        output("cat", ["/proc/net/route"]),
        output("cat", ["/proc/net/ipv6_route"]),
      ]);
      return [...new Set([...parseRoutes(four), ...parseRoutes6(six)])];
    }
    const device = /^\s*interface:\s*(\S+)/m.exec(await output("route", ["-n", "get", "default"]))?.[1];
    return device === undefined ? [] : [device];
  },
};

/** Without all permissions Deno may not read files under /proc; `cat` may. Empty text on failure. */
async function output(program: string, args: string[]): Promise<string> {
  try {
    const { stdout } = await new Deno.Command(program, { args, stdin: "null", stderr: "null" }).output();
    return new TextDecoder().decode(stdout);
  } catch {
    return "";
  }
}

interface Route {
  device: string;
  metric: number;
}

const routeUp = 0x1;
const routeReject = 0x200;
const byMetric = (routes: Route[]) => routes.sort((a, b) => a.metric - b.metric).map(({ device }) => device);

/** Devices of the default routes in the text of /proc/net/route (proc_net(5)), the lowest metric first. */
export function parseRoutes(text: string): string[] {
  const routes: Route[] = [];
  for (const line of text.split("\n").slice(1)) {
    const [device, destination, , flags, , , metric, mask] = line.trim().split(/\s+/);
    if (device === undefined || destination !== "00000000" || mask !== "00000000") continue;
    const bits = parseInt(flags ?? "", 16);
    if ((bits & routeUp) !== 0 && (bits & routeReject) === 0) routes.push({ device, metric: Number(metric) });
  }
  return byMetric(routes);
}

/** The same for /proc/net/ipv6_route, whose numbers are all hexadecimal. */
export function parseRoutes6(text: string): string[] {
  const routes: Route[] = [];
  for (const line of text.split("\n")) {
    const [destination, prefix, , , , metric, , , flags, device] = line.trim().split(/\s+/);
    if (device === undefined || prefix !== "00" || !/^0{32}$/.test(destination ?? "")) continue;
    const bits = parseInt(flags ?? "", 16);
    // The kernel has a default route on the loopback that rejects whatever matches no other route.
    if ((bits & routeUp) === 0 || (bits & routeReject) !== 0 || device === "lo") continue;
    routes.push({ device, metric: parseInt(metric ?? "", 16) });
  }
  return byMetric(routes);
}
