import { parseRoutes, parseRoutes6, systemNetwork } from "../../lib/sys/network.ts";
import { assert, assertEquals } from "../support/assert.ts";

const header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

Deno.test("parseRoutes() returns the devices of active default routes, the lowest metric first", () => {
  const text = header +
    "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n" +
    "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n" +
    "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n" +
    "eth9\t00000000\t0100000A\t0002\t0\t0\t1\t00000000\t0\t0\t0\n" +
    "half\t00000000\t0100000A\t0003\t0\t0\t1\t00000080\t0\t0\t0\n";
  assertEquals(parseRoutes(text), ["eth0", "wlan0"]);
  assertEquals(parseRoutes(""), []);
});

Deno.test("parseRoutes6() skips the kernel's reject route on the loopback", () => {
  const zero = "0".repeat(32);
  const text = `${zero} 00 ${zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0\n` +
    `${zero} 00 ${zero} 00 ${zero} ffffffff 00000001 00000000 00200200 lo\n` +
    `fd000000000000000000000000000000 40 ${zero} 00 ${zero} 00000100 00000001 00000000 00000001 eth1\n`;
  assertEquals(parseRoutes6(text), ["eth0"]);
});

Deno.test("systemNetwork knows the loopback of this machine", async () => {
  assert(systemNetwork.addresses().some(({ address }) => address === "127.0.0.1"));
  assert(Array.isArray(await systemNetwork.defaultDevices()));
});
