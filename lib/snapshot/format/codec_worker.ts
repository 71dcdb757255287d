/** The Worker behind worker_codec.ts: one database for each Worker. Blocks its thread while it compresses and hashes. */
import { withoutUndefined } from "../../without_undefined.ts";
import { type OpenedDatabase, sameThreadCodec, type SealedDatabase } from "./codec.ts";
import { type FromWorker, type Job, partsOf, receiveStream, sendStream, type ToWorker } from "./codec_messages.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The part of a Worker's global scope that is used here; its types do not load beside those of the main thread. */
interface WorkerScope {
  onmessage: (event: MessageEvent<ToWorker>) => void;
  postMessage(message: FromWorker, transfer: Transferable[]): void;
}

const scope = self as unknown as WorkerScope;
const post = (message: FromWorker, transfer: Transferable[] = []) => scope.postMessage(message, transfer);

const input = receiveStream(() => post({ kind: "grant" }), () => {});
/** Grants that came before the output had begun. */
let early = 0;
let granted = (): void => void early++;

async function run(job: Job): Promise<void> {
  const output = job.kind === "seal" ? seal(job) : await open(job);
  const sender = sendStream(output.stream, post);
  granted = sender.granted;
  for (; early > 0; early--) granted();
  await sender.sent;
  post({ kind: "sums", sums: await output.sums });
}

function seal({ options, random }: Extract<Job, { kind: "seal" }>) {
  let at = 0;
  const randomBytes = (length: number): Bytes => {
    if (at + length > random.length) throw new Error("too few random bytes");
    return random.slice(at, at += length);
  };
  const sealed: SealedDatabase = sameThreadCodec.seal(input.stream, { ...options, randomBytes });
  return { stream: sealed.stream, sums: sealed.etcdSum };
}

async function open({ keys, options }: Extract<Job, { kind: "open" }>): Promise<OpenedDatabase> {
  const database = await sameThreadCodec.open(input.stream, keys, options);
  const { kind, header, gzip } = database;
  post({ kind: "opened", opened: { kind, gzip, ...withoutUndefined({ header }) } });
  return database;
}

scope.onmessage = ({ data }) => {
  switch (data.kind) {
    case "start":
      return void run(data.job).catch((error) => post({ kind: "failed", error: partsOf(error) }));
    case "chunks":
      return input.chunks(data.chunks);
    case "end":
      return input.end();
    case "grant":
      return granted();
  }
};
