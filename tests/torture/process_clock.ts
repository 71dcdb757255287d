/**
 * The wall clock of one running process, set apart from that of the machine. Programs on Linux read the time in the vDSO,
 * a few functions that the kernel maps into each of them; here their entries are led to code in the unused end of its
 * pages that asks the kernel and adds an offset. So it works for static programs, too (etcd), as no preloaded library
 * does. The monotonic clock stays as it is: no clock that is set moves that one. x86-64; needs the right to trace.
 */

/** Machine code that calls `number` and adds seconds to what it gives, and where in it those are, as 64 bits. */
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
/** Each piece of code begins so far from the next, counted from the end of the pages. */
const room = 64;

/** Seconds to add, negative ones to take away, from the machine's time. Throws where the process cannot be reached. */
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
  // Nobody is to run through code that is half written.
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

/** Names and offsets in the image of a shared object's functions. */
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
