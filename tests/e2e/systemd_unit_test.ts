/** deploy/systemd/ installed as docs/systemd.md describes, under a real systemd with its full sandbox. */
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { etcdDir } from "../support/parts.ts";
import { installUnit, SystemdMachine } from "../support/systemd_machine.ts";
import { programShown } from "./node_process.ts";

const etcdctl = "/opt/etcd/etcdctl --endpoints=127.0.0.1:2379";

/** Installs e2d as docs/systemd.md describes, for a cluster of one. */
async function installed(folder: string, settings: Record<string, string> = {}): Promise<SystemdMachine> {
  const { shown, copied, script } = programShown();
  const machine = await SystemdMachine.boot(`${folder}/machine`, {
    shown: new Map([...shown, ["/opt/etcd", etcdDir()]]),
    copied,
  });
  await machine.write("/usr/local/bin/e2d", script, 0o755);
  const variables = { E2D_HOST: "127.0.0.1", E2D_ETCD_DIR: "/opt/etcd", ...settings };
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${value}\n`).join("");
  await machine.write("/etc/e2d/e2d.env", lines, 0o600);
  await installUnit(machine);
  return machine;
}

async function shown(machine: SystemdMachine, unit = "e2d"): Promise<Record<string, string>> {
  const text = await machine.text(`systemctl show ${unit}`);
  return Object.fromEntries(text.split("\n").map((line) => line.split(/=(.*)/s).slice(0, 2)));
}

/** Resolves when systemd has started the unit again, after `RestartSec=`. */
async function restarted(machine: SystemdMachine, before: Record<string, string>): Promise<void> {
  await eventually("a start by systemd", async () => {
    const now = await shown(machine);
    return Number(now.NRestarts) > Number(before.NRestarts) && now.ActiveState === "active";
  });
}

Deno.test("e2d.service: a node in its sandbox serves, restarts with its data when killed or hung, and stops cleanly", async () => {
  await using folder = await temporaryDirectory();
  await using machine = await installed(folder.path);
  await machine.write("/etc/systemd/system/e2d.service.d/test.conf", "[Service]\nWatchdogSec=3\nRestartSec=1\n");
  // It returns when the unit is ready: a single node serves then.
  await machine.text("systemctl daemon-reload && systemctl enable --now e2d");
  assertEquals(await machine.text(`${etcdctl} put key value`), "OK");
  const first = await shown(machine);
  assertEquals(first.StatusText, "serving as leader of 1 voting member");

  const etcd = await machine.text("pgrep -x etcd");
  for (const pid of [first.MainPID, etcd]) {
    const status = await machine.text(`cat /proc/${pid}/status`);
    assert(/^NoNewPrivs:\t1$/m.test(status) && /^Seccomp:\t2$/m.test(status), status);
    assert(/^CapEff:\t0+$/m.test(status) && !/^Uid:\t0\t/m.test(status), status);
  }
  assertEquals(await machine.text("stat -c '%U %a' /var/lib/e2d /var/lib/e2d/etcd"), "e2d 700\ne2d 700");

  // Each line has its level as its priority, and none of the prefix that carries it.
  const lines = await machine.text("journalctl --unit=e2d --priority=warning --output=cat --no-pager");
  assert(!lines.includes('"level":"info"'), lines);
  const all = await machine.text("journalctl --unit=e2d --output=cat --no-pager");
  assert(all.includes('\n{"time"') && !all.includes("<6>"), all);

  await machine.text("systemctl kill --kill-who=main --signal=KILL e2d");
  await restarted(machine, first);
  assertEquals(await machine.text(`${etcdctl} get --print-value-only key`), "value");
  // The previous etcd ended with it.
  assertEquals((await machine.text("pgrep -c -x etcd")).trim(), "1");
  assert(await machine.text("pgrep -x etcd") !== etcd);

  // A stopped process hangs as in an endless loop: only the watchdog detects it.
  const second = await shown(machine);
  await machine.text("systemctl kill --kill-who=main --signal=STOP e2d");
  await restarted(machine, second);
  assert((await machine.text("journalctl --unit=e2d --no-pager")).includes("Watchdog timeout"));
  assertEquals(await machine.text(`${etcdctl} get --print-value-only key`), "value");

  await machine.text("systemctl stop e2d");
  const last = await shown(machine);
  assertEquals([last.ActiveState, last.Result, last.ExecMainStatus], ["inactive", "success", "0"]);
  assertEquals((await machine.sh("pgrep -x etcd")).code, 1);
});

Deno.test("e2d.service: an invalid variable is reported, and the unit is not restarted", async () => {
  await using folder = await temporaryDirectory();
  await using machine = await installed(folder.path, { E2D_REQUIRED_CLUSTER_SIZE: "4" });
  assert((await machine.sh("systemctl start e2d")).code !== 0);
  const { ActiveState, ExecMainStatus, NRestarts } = await shown(machine);
  assertEquals([ActiveState, ExecMainStatus, NRestarts], ["failed", "2", "0"]);
  const journal = await machine.text("journalctl --unit=e2d --no-pager");
  assert(journal.includes("E2D_REQUIRED_CLUSTER_SIZE"), journal);
});

Deno.test("the unit of the original's README runs e2d after its --ca-key is corrected, and reports the error before", async () => {
  await using folder = await temporaryDirectory();
  await using machine = await installed(folder.path);
  const pki = "/etc/kubernetes/pki/etcd";
  await machine.text(`mkdir -p ${pki} /var/lib && cd ${pki} && e2d pki init --ca-cert=ca.crt --ca-key=ca.key &&
    e2d pki gencerts --ca-cert=ca.crt --ca-key=ca.key --hosts=127.0.0.1,localhost --output-dir=${pki}`);
  // Its flags except those for the cloud and its bucket.
  const unit = (caKey: string) =>
    [
      ...["[Unit]", "Description=e2d", "", "[Service]"],
      "Environment=E2D_HOST=127.0.0.1 E2D_ETCD_DIR=/opt/etcd",
      `ExecStart=/usr/local/bin/e2d run \\`,
      `  --data-dir=/var/lib/etcd --ca-cert=${pki}/ca.crt --ca-key=${pki}/${caKey} \\`,
      `  --client-cert=${pki}/client.crt --client-key=${pki}/client.key \\`,
      `  --peer-cert=${pki}/peer.crt --peer-key=${pki}/peer.key \\`,
      `  --server-cert=${pki}/server.crt --server-key=${pki}/server.key \\`,
      `  --required-cluster-size=1 --snapshot-backup-url=file:///var/backups/etcd`,
      ...["Restart=on-failure", "RestartSec=30", ""],
    ].join("\n");
  const started = async (caKey: string) => {
    await machine.write("/etc/systemd/system/original.service", unit(caKey));
    await machine.text("systemctl daemon-reload && systemctl restart original");
  };
  await started("ca.crt");
  await eventually(
    "what is wrong",
    async () =>
      (await machine.text("journalctl --unit=original --no-pager")).includes(
        `the key is usually in \\"${pki}/ca.key\\"`,
      ),
  );
  assertEquals((await machine.sh("ls /var/lib/etcd")).code !== 0, true);
  await started("ca.key");
  const tls = `--cacert=${pki}/ca.crt --cert=${pki}/client.crt --key=${pki}/client.key`;
  await eventually(
    "a served write",
    async () => (await machine.sh(`${etcdctl.replace("127", "https://127")} ${tls} put key value`)).text.endsWith("OK"),
  );
  await machine.text("systemctl stop original");
  assertEquals((await shown(machine, "original")).Result, "success");
});
