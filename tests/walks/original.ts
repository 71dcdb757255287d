/**
 * A stand-in for the Go original on a machine: a systemd unit, and a program that runs etcd 3.4, which the original
 * embeds, beside a memberlist v0.2.0 peer that gossips as the original.
 */
import { secretKeyFromCaKey } from "../../lib/pki/secret_key.ts";
import { partProgram } from "../interop/part_program.ts";
import { part } from "../support/parts.ts";
import { inMachine } from "../support/systemd_machine.ts";

export interface OriginalOptions {
  readonly name: string;
  readonly host: string;
  /** Names and hosts of all initial members. */
  readonly initialMembers: ReadonlyMap<string, string>;
  readonly dataDir: string;
  /** The folder with the node's certificates. */
  readonly pki: string;
  /** PEM. */
  readonly caKey: string;
}

/** Its systemd unit: without notifications, with the default user. */
export const originalUnit = `[Unit]
Description=e2d

[Service]
EnvironmentFile=/etc/e2d/e2d.env
ExecStart=/usr/local/bin/e2d run --data-dir=/var/lib/e2d/etcd
Restart=on-failure
RestartSec=30

[Install]
WantedBy=multi-user.target
`;

/** The program of the unit. The gossip peer reports on its output when its status is Running. */
export function originalScript({ name, host, initialMembers, dataDir, pki, caKey }: OriginalOptions): string {
  const url = (host: string, port: number) => `https://${host}:${port}`;
  const { bytes } = secretKeyFromCaKey(caKey, { role: "CA key", path: "ca.key" });
  const etcd = [
    inMachine(part("etcd-3.4.23", "etcd")),
    ...[`--name=${name}`, `--data-dir=${dataDir}`],
    ...[`--listen-peer-urls=${url(host, 2380)}`, `--initial-advertise-peer-urls=${url(host, 2380)}`],
    ...[`--listen-client-urls=${url(host, 2379)}`, `--advertise-client-urls=${url(host, 2379)}`],
    `--initial-cluster=${[...initialMembers].map(([name, host]) => `${name}=${url(host, 2380)}`).join(",")}`,
    "--initial-cluster-state=new",
    ...[`--trusted-ca-file=${pki}/ca.crt`, "--client-cert-auth"],
    ...[`--cert-file=${pki}/server.crt`, `--key-file=${pki}/server.key`],
    ...[`--peer-trusted-ca-file=${pki}/ca.crt`, "--peer-client-cert-auth"],
    ...[`--peer-cert-file=${pki}/peer.crt`, `--peer-key-file=${pki}/peer.key`],
  ];
  const gossip = [
    inMachine(partProgram("go-e2d-peer", "e2d-peer", "e2d-peer")),
    ...["-name", name, "-gossip", `${host}:7980`],
    ...["-client-url", url(host, 2379), "-peer-url", url(host, 2380)],
    ...["-bootstrap", [...initialMembers.values()].map((each) => `${each}:7980`).join(","), "-key", bytes.toHex()],
  ];
  return `#!/bin/sh
${etcd.join(" ")} &
etcd=$!
# It ends when its input does.
sleep infinity | ${gossip.join(" ")} &
# As the original stops: gossip without a goodbye, and not before its etcd has closed its database.
trap 'kill -TERM $etcd; wait $etcd; exit 0' TERM
wait $etcd
`;
}
