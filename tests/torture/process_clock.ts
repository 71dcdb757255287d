/**
 * Changes the wall clock of one running process. Programs on Linux read the time in the vDSO, functions that the kernel
 * maps into each process; here their entries jump to code in the unused end of its pages that calls the kernel and adds
 * an offset. Unlike a preloaded library this works for static programs, too (etcd). The monotonic clock does not change,
 * as when a real clock is set. x86-64; needs the permission to trace the process.
 */

/** Machine code that calls `number` and adds seconds to the result, with the offset of these 64 bits in the code. */
interface Patch {
  readonly symbol: string;
  readonly code: readonly number[];
  readonly offsetAt: number;
}

const zeros = [0, 0, 0, 0, 0, 0, 0, 0];

const patches: readonly Patch[] = [
  {
    // int clock_gettime(edi: clock, rsi: { seconds, nanoseconds })
    symbol: "__vdso_clock_gettime",
    code: [
      ...[0xb8, 0xe4, 0, 0, 0], // mov eax, 228
      ...[0x0f, 0x05], // syscall
      ...[0x85, 0xc0, 0x75, 0x17], // test eax, eax; jnz the end
      ...[0x83, 0xff, 0x00, 0x74, 0x05], // cmp edi, CLOCK_REALTIME; je the addition
      ...[0x83, 0xff, 0x05, 0x75, 0x0d], // cmp edi, CLOCK_REALTIME_COARSE; jne the end
      ...[0x48, 0xb9, ...zeros], // mov rcx, offset
      ...[0x48, 0x01, 0x0e], // add [rsi], rcx
      0xc3, // ret
    ],
    offsetAt: 23,
  },
  {
    // int gettimeofday(rdi: { seconds, microseconds } or null, rsi: zone or null)
    symbol: "__vdso_gettimeofday",
    code: [
      ...[0xb8, 0x60, 0, 0, 0], // mov eax, 96
      ...[0x0f, 0x05], // syscall
      ...[0x85, 0xc0, 0x75, 0x12], // test eax, eax; jnz the end
      ...[0x48, 0x85, 0xff, 0x74, 0x0d], // test rdi, rdi; jz the end
      ...[0x48, 0xb9, ...zeros], // mov rcx, offset
      ...[0x48, 0x01, 0x0f], // add [rdi], rcx
      0xc3, // ret
    ],
    offsetAt: 18,
  },
];
/** Distance between the pieces of code, counted from the end of the pages. */
const room = 64;

/** Adds `offsetS` seconds, which may be negative, to the machine's time. Throws if the process cannot be accessed. */
export async function setProcessClock(pid: number, offsetS: number): Promise<void> {
  const fail = (why: string) => new Error(`cannot set the clock of process ${pid}: ${why}`);
  if (Deno.build.arch !== "x86_64") throw fail(`no machine code for ${Deno.build.arch}`);
  const maps = await Deno.readTextFile(`/proc/${pid}/maps`);
  const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) .*\[vdso\]$/m.exec(maps) ?? [];
  if (from === undefined || to === undefined) throw fail("it has no vDSO");
  const base = Number.parseInt(from, 16);
  const image = new Uint8Array(Number.parseInt(to, 16) - base);
  using memory = await Deno.open(`/proc/${pid}/mem`, { read: true, write: true });
  await at(memory, base);
  if (await memory.read(image) !== image.length) throw fail("its vDSO is cut");
  const symbols = functionsOf(image);
  // The process must not execute partially written code.
  Deno.kill(pid, "SIGSTOP");
  try {
    for (const [index, { symbol, code, offsetAt }] of patches.entries()) {
      const entry = symbols.get(symbol);
      const cave = image.length - (index + 1) * room;
      if (entry === undefined) throw fail(`its vDSO has no ${symbol}`);
      const before = image.subarray(cave, cave + code.length);
      const own = before.every((byte, place) => byte === code[place] || place >= offsetAt && place < offsetAt + 8);
      if (!own && before.some((byte) => byte !== 0)) throw fail("the end of its vDSO is in use");
      const bytes = Uint8Array.from(code);
      new DataView(bytes.buffer).setBigInt64(offsetAt, BigInt(offsetS), true);
      await at(memory, base + cave);
      await memory.write(bytes);
      const jump = new Uint8Array(5);
      jump[0] = 0xe9; // jmp
      new DataView(jump.buffer).setInt32(1, cave - (entry + jump.length), true);
      await at(memory, base + entry);
      await memory.write(jump);
    }
  } finally {
    Deno.kill(pid, "SIGCONT");
  }
}

async function at(file: Deno.FsFile, offset: number): Promise<void> {
  await file.seek(offset, Deno.SeekMode.Start);
}

/** Names and offsets of the functions in the image of a shared object. */
function functionsOf(image: Uint8Array<ArrayBuffer>): Map<string, number> {
  const view = new DataView(image.buffer);
  const u64 = (offset: number) => Number(view.getBigUint64(offset, true));
  const sections = Array.from({ length: view.getUint16(60, true) }, (_, index) => u64(40) + index * 64);
  const dynamic = sections.find((section) => view.getUint32(section + 4, true) === 11);
  if (dynamic === undefined) throw new Error("read the vDSO: it has no symbols");
  const strings = u64(sections[view.getUint32(dynamic + 40, true)]! + 24);
  const [start, size] = [u64(dynamic + 24), u64(dynamic + 32)];
  const found = new Map<string, number>();
  for (let symbol = start; symbol < start + size; symbol += 24) {
    const name = strings + view.getUint32(symbol, true);
    found.set(new TextDecoder().decode(image.subarray(name, image.indexOf(0, name))), u64(symbol + 8));
  }
  return found;
}
