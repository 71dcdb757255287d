/**
 * A small DNS resolver. `Deno.resolveDns` (2.6), and node:dns on top of it, report "no records" alike for a name that does
 * not exist, a failing server and a refusing server, and wait 15 s for a silent one. Discovery must distinguish "no peers"
 * from "no answer".
 */
import { describeError, E2dError } from "../errors.ts";
import type { HostPort, Resolver } from "../ports.ts";
import { decodeAnswer, type DnsAnswer, type DnsRecord, type DnsType, dnsTypes, encodeQuestion } from "./dns_message.ts";
import { systemConnections } from "./tcp.ts";
import { bindDatagrams } from "./udp.ts";

export interface ResolverSettings {
  servers: readonly HostPort[];
  /** Domains in which short names are looked up. */
  search: readonly string[];
  /** Names with fewer dots are looked up in `search` first. */
  dotsMin: number;
}

/** As in resolv.conf(5). */
const serversMax = 3;
const attemptTimeoutMs = 1500;
const rounds = 2;
const messageBytesMax = 65_535;

const noSuchName = 3;
const codeTexts: Readonly<Record<number, string>> = {
  1: "FORMERR (invalid query)",
  2: "SERVFAIL (server failure)",
  4: "NOTIMP (not supported)",
  5: "REFUSED (refused by policy)",
};

/** Queries the servers of `settings`, or those of /etc/resolv.conf, which is read again for each query. */
export function systemResolver(settings?: ResolverSettings): Resolver {
  return {
    async services(name, signal) {
      const records = await ask(name, ["SRV"], signal, settings ?? await systemSettings());
      return records?.map(({ value, port, priority, weight }) => ({ host: value, port, priority, weight }));
    },
    async addresses(name, signal) {
      const records = await ask(name, ["A", "AAAA"], signal, settings ?? await systemSettings());
      return records?.map(({ value }) => value);
    },
  };
}

async function systemSettings(): Promise<ResolverSettings> {
  let text: string;
  try {
    text = await Deno.readTextFile("/etc/resolv.conf");
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) {
      throw new E2dError("dns_failed", 'Cannot read "/etc/resolv.conf": the system refused', { cause });
    }
    // resolv.conf(5): without the file, the name server on this machine is used.
    text = "";
  }
  return parseResolverSettings(text);
}

/** Parses the text of a resolv.conf. */
export function parseResolverSettings(text: string): ResolverSettings {
  const servers: HostPort[] = [];
  let search: string[] = [];
  let dotsMin = 1;
  for (const line of text.split("\n")) {
    const [word, ...rest] = line.trim().split(/\s+/);
    if (word === "nameserver" && rest[0] !== undefined) servers.push({ host: rest[0], port: 53 });
    else if (word === "search" || word === "domain") search = rest.map((domain) => domain.replace(/\.$/, ""));
    else if (word === "options") {
      const dots = rest.map((option) => /^ndots:(\d+)$/.exec(option)?.[1]).find((found) => found !== undefined);
      if (dots !== undefined) dotsMin = Math.min(15, Number(dots));
    }
  }
  if (servers.length === 0) servers.push({ host: "127.0.0.1", port: 53 });
  return { servers: servers.slice(0, serversMax), search: search.filter((domain) => domain !== ""), dotsMin };
}

/** The records of the first candidate name that has any; undefined when none has. */
async function ask(
  name: string,
  types: readonly DnsType[],
  signal: AbortSignal,
  settings: ResolverSettings,
): Promise<DnsRecord[] | undefined> {
  for (const candidate of candidates(name, settings)) {
    const answers = await Promise.all(types.map((type) => askServers(candidate, type, signal, settings.servers)));
    const records = answers.flat();
    if (records.length > 0) return records;
  }
  return undefined;
}

function candidates(name: string, { search, dotsMin }: ResolverSettings): string[] {
  if (name.endsWith(".")) return [name];
  const within = search.map((domain) => `${name}.${domain}`);
  return name.split(".").length - 1 >= dotsMin ? [name, ...within] : [...within, name];
}

async function askServers(
  name: string,
  type: DnsType,
  signal: AbortSignal,
  servers: readonly HostPort[],
): Promise<DnsRecord[]> {
  let failure: E2dError | undefined;
  for (let attempt = 0; attempt < rounds * servers.length; attempt++) {
    signal.throwIfAborted();
    const server = servers[attempt % servers.length]!;
    try {
      const answer = await askServer(name, type, signal, server);
      if (answer.code === 0) return answer.records.filter((record) => record.type === type);
      if (answer.code === noSuchName) return [];
      failure = failed(name, type, server, codeTexts[answer.code] ?? `code ${answer.code}`);
    } catch (cause) {
      signal.throwIfAborted();
      failure = failed(name, type, server, reason(cause), cause);
    }
  }
  throw failure!;
}

function failed(name: string, type: DnsType, server: HostPort, state: string, cause?: unknown): E2dError {
  return new E2dError("dns_failed", `Cannot look up ${type} "${name}" at ${server.host}:${server.port}: ${state}`, {
    hint: "check the name servers in /etc/resolv.conf",
    cause,
  });
}

function reason(cause: unknown): string {
  if ((cause as { name?: string }).name === "TimeoutError") return `no answer within ${attemptTimeoutMs} ms`;
  return describeError(cause);
}

async function askServer(name: string, type: DnsType, signal: AbortSignal, server: HostPort): Promise<DnsAnswer> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(attemptTimeoutMs)]);
  const [id] = crypto.getRandomValues(new Uint16Array(1));
  const question = encodeQuestion(id!, name, type);
  const wanted = name.replace(/\.$/, "").toLowerCase();
  const matches = (answer: DnsAnswer) =>
    answer.id === id && answer.question === wanted && answer.questionType === dnsTypes[type];
  const answer = await askByDatagram(question, server, limited, matches);
  if (!answer.truncated) return answer;
  const whole = await askByStream(question, server, limited);
  if (!matches(whole)) throw new E2dError("dns_answer", "Cannot use the answer: it belongs to another query");
  return whole;
}

async function askByDatagram(
  question: Uint8Array,
  server: HostPort,
  signal: AbortSignal,
  matches: (answer: DnsAnswer) => boolean,
): Promise<DnsAnswer> {
  const six = server.host.includes(":");
  const local = /^127\./.test(server.host) ? "127.0.0.1" : six ? "::" : "0.0.0.0";
  const socket = await bindDatagrams({ host: local, port: 0 });
  const close = () => socket.close();
  signal.addEventListener("abort", close, { once: true });
  try {
    signal.throwIfAborted();
    await socket.send(question, server);
    for await (const { data, from } of socket.receive()) {
      // Packets from other ports (a late answer, a spoofed one) are ignored.
      if (from.port !== server.port) continue;
      try {
        const answer = decodeAnswer(data);
        if (matches(answer)) return answer;
      } catch (error) {
        if (data.length >= 2 && data[0] === question[0] && data[1] === question[1]) throw error;
      }
    }
    signal.throwIfAborted();
    throw new E2dError("dns_answer", "Cannot receive an answer: the socket was closed");
  } finally {
    signal.removeEventListener("abort", close);
    socket.close();
  }
}

async function askByStream(question: Uint8Array, server: HostPort, signal: AbortSignal): Promise<DnsAnswer> {
  const connection = await systemConnections.dial(server, signal);
  signal.addEventListener("abort", connection.close, { once: true });
  try {
    const writer = connection.writable.getWriter();
    await writer.write(Uint8Array.from([question.length >> 8, question.length & 255, ...question]));
    let received = new Uint8Array(0);
    for await (const chunk of connection.readable) {
      const joined = new Uint8Array(received.length + chunk.length);
      joined.set(received);
      joined.set(chunk, received.length);
      received = joined;
      const length = received.length < 2 ? Infinity : received[0]! << 8 | received[1]!;
      if (received.length >= 2 + length) return decodeAnswer(received.subarray(2, 2 + length));
      if (received.length > 2 + messageBytesMax) break;
    }
    throw new E2dError("dns_answer", "Cannot read the answer of a name server: it is truncated");
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", connection.close);
    connection.close();
  }
}
