/** A name server on loopback, UDP and TCP on one port, with answers that the test chooses. */
import { systemConnections } from "../../lib/sys/tcp.ts";
import { bindDatagrams } from "../../lib/sys/udp.ts";

export interface FakeAnswer {
  code?: number;
  addresses?: string[];
  services?: { host: string; port: number; priority?: number; weight?: number }[];
  /** Over UDP the answer only reports that it did not fit. */
  truncated?: boolean;
  /** A forged answer is sent before the right one. */
  forged?: boolean;
  /** Number of bytes that are missing at the end. */
  cut?: number;
}

export type FakeZone = (name: string, type: number) => FakeAnswer | "silence";

export async function startDnsServer(zone: FakeZone) {
  const listener = await systemConnections.listen({ host: "127.0.0.1", port: 0 });
  const port = listener.local.port;
  const socket = await bindDatagrams({ host: "127.0.0.1", port });
  const asked: string[] = [];
  (async () => {
    for await (const { data, from } of socket.receive()) {
      const answer = answerTo(data);
      if (answer === "silence") continue;
      if (answer.forged) {
        const forged = encode(data, { addresses: ["203.0.113.66"] }, false);
        forged[0]! ^= 1;
        await socket.send(forged, from);
      }
      const bytes = encode(data, answer, answer.truncated ?? false);
      await socket.send(bytes.subarray(0, bytes.length - (answer.cut ?? 0)), from).catch(() => {});
    }
  })();
  (async () => {
    for await (const connection of listener.accept()) {
      (async () => {
        const reader = connection.readable.getReader();
        const { value } = await reader.read();
        const question = value!.subarray(2);
        const answer = answerTo(question);
        if (answer !== "silence") {
          const bytes = encode(question, answer, false);
          const writer = connection.writable.getWriter();
          // In two pieces, as a network may deliver it.
          await writer.write(Uint8Array.from([bytes.length >> 8]));
          await writer.write(Uint8Array.from([bytes.length & 255, ...bytes]));
        }
        connection.close();
      })().catch(() => connection.close());
    }
  })();
  return {
    host: "127.0.0.1",
    port,
    asked,
    close() {
      socket.close();
      listener.close();
    },
  };

  function answerTo(question: Uint8Array): FakeAnswer | "silence" {
    const { name, type } = questionOf(question);
    asked.push(`${name} ${type}`);
    return zone(name, type);
  }
}

function questionOf(bytes: Uint8Array): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (; bytes[at] !== 0; at += bytes[at]! + 1) {
    labels.push(new TextDecoder().decode(bytes.subarray(at + 1, at + 1 + bytes[at]!)));
  }
  return { name: labels.join("."), type: bytes[at + 2]!, end: at + 5 };
}

export function encode(question: Uint8Array, answer: FakeAnswer, truncated: boolean): Uint8Array<ArrayBuffer> {
  const { type, end } = questionOf(question);
  const records: number[][] = [];
  const add = (recordType: number, data: number[]) =>
    records.push([0xc0, 12, 0, recordType, 0, 1, 0, 0, 0, 60, data.length >> 8, data.length & 255, ...data]);
  for (const address of answer.addresses ?? []) {
    const six = address.includes(":");
    if (six !== (type === 28)) continue;
    add(type, six ? six16(address) : address.split(".").map(Number));
  }
  for (const { host, port, priority = 0, weight = 0 } of type === 33 ? answer.services ?? [] : []) {
    const name = host.split(".").flatMap((label) => [label.length, ...new TextEncoder().encode(label)]);
    add(33, [priority >> 8, priority & 255, weight >> 8, weight & 255, port >> 8, port & 255, ...name, 0]);
  }
  const kept = truncated ? [] : records;
  return Uint8Array.from([
    question[0]!,
    question[1]!,
    0x81 | (truncated ? 2 : 0),
    0x80 | (answer.code ?? 0),
    0,
    1,
    kept.length >> 8,
    kept.length & 255,
    0,
    0,
    0,
    0,
    ...question.subarray(12, end),
    ...kept.flat(),
  ]);
}

function six16(address: string): number[] {
  const [head, tail = ""] = address.split("::");
  const groups = (part: string) => part === "" ? [] : part.split(":").map((group) => parseInt(group, 16));
  const left = groups(head!);
  const right = groups(tail);
  const all = address.includes("::") ? [...left, ...new Array(8 - left.length - right.length).fill(0), ...right] : left;
  return all.flatMap((group: number) => [group >> 8, group & 255]);
}
