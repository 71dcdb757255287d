/**
 * Kinds of trouble besides ordinary faults: mistakes of operators with disks, names, addresses and URLs, a store with
 * wrong answers, wrong clocks, and processes that hang. Each kind sets itself up in a running world, lasts a while, and
 * registers the operator's repair. The seed of a history determines its kinds.
 */
import { type EtcdData, hashText, type Member, revisionOf } from "./fake_etcd.ts";
import { copyOf, type Scene } from "./scene.ts";
import { emptyDisk, type Machine, neighbours, production, type StoredSnapshot } from "./world.ts";
import type { Settings } from "../../lib/core/facts/settings.ts";

export interface Trouble {
  /** Settings from the first boot on. */
  readonly settings?: Partial<Settings>;
  /** Half of the histories have no store. */
  readonly storeless?: true;
  readonly size?: number;
  /** Number of standby nodes. */
  readonly standbys?: number;
  readonly commitsLate?: boolean;
  /** Another, unrelated cluster runs in the same world. */
  readonly neighbours?: true;
  readonly play: (scene: Scene) => void;
}

const foreignValues = 1_000_000_000;

/** Another life, restored from production's snapshot or new, saves to production's store. */
function foreignLife(scene: Scene): void {
  const { world, chance } = scene;
  const store = world.storeOf(production);
  if (!scene.runUntil(() => store.current.kind === "newest", 20_000)) return;
  const from = store.history.at(-1)!;
  const token = `foreign-${chance.below(1_000_000)}`;
  const drill = chance.chance(0.75);
  world.referee.evidence.foreign.add(token);
  let saved = 0, going = true;
  const save = () => {
    if (!going) return;
    saved++;
    world.trace(`a foreign life saves (${saved})`);
    const values = [...drill ? from.values : [], ...Array.from({ length: saved }, (_, i) => foreignValues + i)];
    const snapshot: StoredSnapshot = {
      hash: hashText(`${token} ${saved}`),
      values,
      revision: (drill ? from.revision + 1_000_000_000 : 1) + saved,
      lineage: { id: drill ? from.lineage.id : token, epoch: drill ? from.lineage.epoch + 1 : 1, token },
      takenAtWallMs: world.now().wallMs,
    };
    store.save(snapshot);
    world.at(3_000 + 500 * saved, save);
  };
  save();
  scene.mends.push(() => going = false);
  scene.run(chance.below(10_000));
  const members = scene.members();
  switch (chance.pick(["all", "all", "one", "minority", "majority"])) {
    case "one":
      for (const machine of scene.some(members, 1)) scene.reboot(machine);
      break;
    case "minority":
      loseDisks(scene, scene.some(members, 1));
      scene.restartAll(scene.machines());
      break;
    case "majority":
      loseDisks(scene, scene.some(members, Math.floor(world.size / 2) + 1));
      break;
    default:
      scene.restartAll(scene.machines());
  }
  scene.run(chance.between(4_000, 25_000));
}

function loseDisks(scene: Scene, machines: readonly Machine[], withinMs = 4_000): void {
  for (const machine of machines) {
    scene.world.kill(machine);
    scene.world.loseDisk(machine);
    scene.bootSoon(machine, withinMs);
  }
}

function cutApart(scene: Scene, side: ReadonlySet<string>): void {
  for (const a of scene.world.machines.keys()) {
    for (const b of scene.world.machines.keys()) if (side.has(a) !== side.has(b)) scene.world.cut.add(`${a} ${b}`);
  }
}

/** One member and the standby nodes are cut off for longer than the time-out; then some other members restart. */
function split(scene: Scene): void {
  const { world, chance } = scene;
  scene.calm();
  scene.run(3_000);
  if (!scene.settle()) return;
  const members = scene.members();
  const one = chance.pick(members);
  const side = new Set([one.name]);
  for (const machine of scene.machines()) if (!members.includes(machine)) side.add(machine.name);
  world.trace(`split: ${[...side].join(" ")} | the rest`);
  cutApart(scene, side);
  scene.run(scene.pastTheTimeoutMs());
  world.trace("the split heals");
  world.cut.clear();
  scene.run(chance.below(10_000));
  const majority = members.filter((machine) => machine !== one);
  for (const machine of scene.some(majority, chance.below(majority.length + 1))) {
    scene.reboot(machine);
    scene.run(chance.below(6_000));
  }
  scene.run(5_000);
}

/** Volumes that are not mounted at boot and are mounted later. */
function unmounted(scene: Scene): void {
  const { world, chance } = scene;
  scene.settle();
  const members = scene.members();
  const away = chance.chance(0.6) ? members : scene.some(members, 1 + chance.below(members.length));
  // The record beside the mount point stays, or there is none (a volume that was moved to a new machine).
  const lost = chance.pick(["data", "data", "both", "recordLost"]);
  // If a majority is unmounted with its records, no node knows of it.
  const how = lost === "both" && away.length > (members.length - 1) / 2 ? "data" : lost;
  world.trace(`not mounted at ${away.map(({ name }) => name).join(" ")}: ${how}`);
  for (const machine of scene.machines()) if (away.includes(machine) || chance.chance(0.5)) world.kill(machine);
  for (const machine of away) {
    if (how === "recordLost") {
      machine.disk.record = undefined;
      continue;
    }
    machine.unmounted = machine.disk;
    const { record, pauseMark } = machine.disk;
    machine.disk = how === "data" ? { ...emptyDisk(), record, pauseMark } : emptyDisk();
  }
  for (const machine of scene.machines()) if (!world.isUp(machine)) scene.bootSoon(machine);
  const mount = () => {
    for (const machine of away) {
      const volume = machine.unmounted;
      if (volume === undefined || world.machines.get(machine.name) !== machine) continue;
      world.kill(machine);
      world.trace(`${machine.name}'s volume is mounted`);
      // Files that were created in the empty folder are hidden permanently; the record beside it is not.
      const record = how === "data" ? machine.disk.record : volume.record;
      machine.unmounted = undefined;
      const hidden = machine.disk;
      machine.disk = { ...volume, record };
      if (hidden.data !== undefined) world.referee.dataHidden(hidden.data);
      scene.bootSoon(machine);
    }
  };
  scene.mends.push(mount);
  scene.run(chance.chance(0.6) ? chance.between(1_000, 15_000) : scene.pastTheTimeoutMs());
  if (chance.chance(0.7)) mount();
  scene.run(5_000);
}

function swappedDisks(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle()) return;
  const [a, b] = scene.some(scene.members(), 2);
  if (a === undefined || b === undefined) return;
  const swap = () => {
    if (world.machines.get(a.name) !== a || world.machines.get(b.name) !== b) return;
    world.kill(a);
    world.kill(b);
    world.trace(`${a.name} and ${b.name} swap their disks`);
    [a.disk, b.disk] = [b.disk, a.disk];
    scene.bootSoon(a);
    scene.bootSoon(b);
  };
  if (chance.chance(0.3)) { for (const machine of scene.machines()) scene.reboot(machine); }
  const before = [a.disk, b.disk];
  swap();
  scene.run(chance.between(4_000, 25_000));
  scene.mends.push(() => {
    // Only if the machines still have the swapped disks.
    if (a.disk === before[1] && b.disk === before[0]) swap();
  });
}

/** A member's disk is rolled back to an older image. */
function oldImage(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle()) return;
  const machine = chance.pick(scene.members());
  const image = copyOf(machine.disk);
  const slow = chance.chance(0.5) ? chance.pick(scene.members()) : undefined;
  if (slow !== undefined && slow !== machine) cutApart(scene, new Set([slow.name]));
  scene.run(chance.between(2_000, 12_000));
  // Records store log positions each minute: a rollback by less cannot be detected.
  const whole = chance.chance(0.6);
  if (!whole) {
    world.cut.clear();
    scene.run(65_000);
    if (slow !== undefined && slow !== machine) cutApart(scene, new Set([slow.name]));
    scene.run(chance.between(1_000, 4_000));
  }
  const now = machine.disk;
  if (now.data === undefined || now.data.memberId !== image.data?.memberId) return;
  if (chance.chance(0.5)) { for (const other of scene.members()) if (other !== slow) world.kill(other); }
  world.kill(machine);
  world.trace(`${machine.name}'s data goes back in time${whole ? ", its record with it" : ""}`);
  world.referee.wentBack(image.data, whole);
  machine.disk = { ...image, record: whole ? image.record : now.record };
  world.cut.clear();
  scene.bootSoon(machine);
  scene.run(chance.between(2_000, 10_000));
  for (const other of scene.machines()) if (!world.isUp(other)) scene.bootSoon(other, 10_000);
  scene.run(5_000);
}

/**
 * A quorum of disks is rolled back to older images, and the store has a newer snapshot of their life. The other disks,
 * with the newest writes, boot in time, late, or only after an operator acts.
 */
function oldQuorum(scene: Scene): void {
  const { world, chance } = scene;
  const store = world.storeOf(production);
  if (!scene.settle() || !scene.runUntil(() => store.current.kind === "newest", 15_000)) return;
  const members = scene.members();
  const old = scene.some(members, Math.floor(members.length / 2) + 1);
  const images = old.map(({ disk }) => copyOf(disk));
  const token = old[0]!.disk.record?.started?.lineage.token;
  // Another life may save into the same store.
  const ownSnapshots = () => store.history.filter(({ lineage }) => lineage.token === token);
  const saved = ownSnapshots().length;
  scene.run(chance.between(2_000, 10_000));
  if (!scene.runUntil(() => ownSnapshots().length > saved + 1, 20_000)) return;
  const { clusterId } = old[0]!.disk.data!;
  const same = old.every(({ disk: { data } }, at) =>
    data?.clusterId === clusterId && images[at]!.data?.memberId === data.memberId
  );
  const stored = ownSnapshots().at(-1)!;
  if (!same || images.some(({ data }) => data === undefined || revisionOf(data) >= stored.revision)) return;
  for (const machine of scene.machines()) world.kill(machine);
  // New writes would soon hide the missing older ones.
  world.referee.idle = true;
  scene.mends.push(() => world.referee.idle = false);
  world.cut.clear();
  for (const [at, machine] of old.entries()) {
    world.trace(`${machine.name}'s disk goes back to revision ${revisionOf(images[at]!.data!)}`);
    machine.disk = images[at]!;
    world.referee.wentBack(machine.disk.data!, true);
    scene.bootSoon(machine, 2_000);
  }
  const timeoutMs = Number(old[0]!.settings.quorumLossTimeoutMs);
  const leads = () => scene.leader()?.data.clusterId === clusterId;
  // If the store shows its newest snapshot in time, the quorum waits for the other disks until its time is over.
  const isShown = store.current.kind !== "unreadable" && store.stale === undefined && store.delayMs === 0;
  if (scene.runUntil(leads, timeoutMs - 1_000) && isShown) {
    world.fail(`disks that went back in time serve without the disk that holds revision ${stored.revision}`);
  }
  if (chance.chance(0.5)) scene.run(scene.pastTheTimeoutMs());
  if (chance.chance(0.4) && scene.runUntil(leads, scene.pastTheTimeoutMs())) writeOverLostEntries(scene, clusterId);
  for (const machine of scene.machines()) if (!world.isUp(machine)) scene.bootSoon(machine, 4_000);
  if (!isShown || !scene.runUntil(leads, 60_000)) return;
  scene.run(2 * lookServingMs);
  const behind = scene.leader();
  if (behind === undefined || behind.data.clusterId !== clusterId || revisionOf(behind.data) >= stored.revision) return;
  const silent = scene.members().filter(({ node }) =>
    node?.phase === "serving" && !node.reports.problems.has("store_ahead")
  );
  if (silent.length > 0) {
    world.fail(`${silent.map(({ name }) => name).join(" ")} serve data behind the store, and do not report it`);
  }
  if (chance.chance(0.5)) loseAllAfterBranch(scene, stored.lineage.token);
}

/**
 * The rolled-back cluster writes until its revision hides what it lost, then the members with the lost entries boot: no
 * etcd starts on such data, because it would serve it beside the cluster's.
 */
function writeOverLostEntries(scene: Scene, clusterId: string): void {
  const { world, chance } = scene;
  const away = scene.machines().filter((machine) => !world.isUp(machine) && machine.disk.data?.clusterId === clusterId);
  world.referee.idle = false;
  scene.run(chance.between(8_000, 15_000));
  const leader = scene.leader();
  const lost = away.filter(({ disk: { data } }) =>
    data !== undefined && leader !== undefined && overwritten(data, leader)
  );
  for (const machine of lost) {
    world.trace(`${machine.name} boots with entries that the cluster has overwritten`);
    scene.bootSoon(machine, 1_000);
  }
  scene.run(chance.between(4_000, 8_000));
  if (scene.leader() !== leader) return;
  const started = lost.filter(({ name }) => world.memberOf(name) !== undefined);
  if (started.length > 0) world.fail(`${started.map(({ name }) => name).join(" ")} started on overwritten entries`);
}

const overwritten = ({ log, commit, clusterId }: EtcdData, { data }: Member) =>
  data.clusterId === clusterId && log.slice(0, commit).some((entry, at) => at < data.commit && entry !== data.log[at]);

/** The rolled-back cluster saves a branch of its life, then all disks are lost: an operator chooses the branch. */
function loseAllAfterBranch(scene: Scene, token: string): void {
  const { world } = scene;
  const { history } = world.storeOf(production);
  world.referee.idle = false;
  const branches = () => new Set(history.filter(({ lineage }) => lineage.token === token).map(({ branch }) => branch));
  if (!scene.runUntil(() => branches().size > 1, 30_000)) return;
  world.trace("two branches are stored, and all disks are lost");
  loseDisks(scene, scene.machines());
  if (scene.runUntil(() => scene.leader() !== undefined, scene.pastTheTimeoutMs() + 20_000)) {
    world.fail("one of two branches of a life was restored, and no operator chose it");
  }
}

/** Interval between two reads of the store by a serving node. */
const lookServingMs = 60_000;

/** A copy of a living member's disk boots on another machine. */
function clone(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle()) return;
  const original = chance.pick(scene.members());
  const copy = scene.add({
    ...chance.chance(0.6) ? { nodeName: original.nodeName } : {},
    settings: original.settings,
  });
  copy.disk = copyOf(original.disk);
  if (copy.disk.data !== undefined) world.referee.evidence.spoiled.add(copy.disk.data);
  world.trace(`${copy.name} is a copy of ${original.name}`);
  if (chance.chance(0.4)) scene.reboot(original, 8_000);
  scene.bootSoon(copy);
  scene.mends.push(() => scene.scrap(copy));
  scene.run(chance.between(4_000, 15_000));
}

/** Only one disk with data is left, which every bootstrap list names; it boots after N new nodes have gathered. */
function lateSurvivor(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle()) return;
  scene.runUntil(() => world.store.kind === "newest", 10_000);
  const old = scene.machines();
  const survivor = chance.pick(scene.members());
  for (const machine of old) world.kill(machine);
  for (const machine of old) if (machine !== survivor) scene.scrap(machine);
  const fresh = Array.from({ length: world.size }, () => scene.add({}));
  const seeds = [survivor, ...fresh].map(({ address }) => `${address}:7980`);
  for (const machine of [survivor, ...fresh]) machine.settings = { ...machine.settings, seeds };
  for (const machine of fresh) scene.bootSoon(machine, 1_000);
  scene.run(chance.between(1_000, 20_000));
  world.boot(survivor);
  scene.run(scene.pastTheTimeoutMs());
}

/** All disks are lost while `--new-cluster` is still in each unit. */
function newClusterStays(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle() || !scene.runUntil(() => world.store.kind === "newest", 15_000)) return;
  const keepsRecord = chance.chance(0.4);
  world.trace(`all disks are lost${keepsRecord ? ", the records stay" : ""}`);
  for (const machine of scene.machines()) {
    world.kill(machine);
    const { record } = machine.disk;
    world.loseDisk(machine);
    if (keepsRecord) machine.disk.record = record;
  }
  for (const machine of scene.machines()) scene.bootSoon(machine);
  scene.run(scene.pastTheTimeoutMs());
}

/** Empty machines with the settings and names of live members. */
function duplicateNames(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle()) return;
  const members = scene.members();
  const copied = chance.chance(0.4) ? members : scene.some(members, 1);
  const staging = copied.map(({ nodeName, settings }) => scene.add({ nodeName, settings }));
  world.trace(`${staging.map(({ name, nodeName }) => `${name} is called ${nodeName}`).join(", ")}`);
  for (const machine of staging) scene.bootSoon(machine);
  scene.mends.push(() => {
    for (const machine of staging) scene.scrap(machine);
  });
  scene.run(chance.between(5_000, 15_000));
  if (chance.chance(0.5)) scene.reboot(chance.pick(copied), 8_000);
  scene.run(chance.between(4_000, 15_000));
}

/** A store that is unreadable, slow, or returns an old snapshot as the newest, while it is needed. */
function wrongStore(scene: Scene): void {
  const { world, chance } = scene;
  const store = world.storeOf(production);
  if (!scene.settle() || !scene.runUntil(() => store.current.kind === "newest", 15_000)) return;
  if (chance.chance(0.7)) scene.runUntil(() => store.history.length > 2, 15_000);
  const before = store.current;
  switch (chance.pick(["unreadable", "slow", "stale"])) {
    case "unreadable":
      world.trace("the store cannot be read");
      store.current = { kind: "unreadable", why: "503" };
      break;
    case "slow":
      world.trace("the store is slow");
      store.delayMs = chance.between(4_000, 25_000);
      break;
    default:
      world.trace("the store shows an old snapshot");
      store.stale = store.history[chance.below(Math.max(1, store.history.length - 1))];
  }
  scene.mends.push(() => {
    store.delayMs = 0;
    store.stale = undefined;
    if (store.current.kind === "unreadable") store.current = before;
  });
  const members = scene.members();
  switch (chance.pick(["restart", "minority", "majority", "all"])) {
    case "minority":
      loseDisks(scene, scene.some(members, 1));
      break;
    case "majority":
      loseDisks(scene, scene.some(members, Math.floor(world.size / 2) + 1));
      break;
    case "all":
      loseDisks(scene, scene.machines());
      break;
    default:
      scene.restartAll(scene.machines());
  }
  scene.run(chance.between(3_000, 25_000));
}

/** All objects of the store of an idle cluster are removed: the cluster must save a snapshot again. */
function storeEmptied(scene: Scene): void {
  const { world, chance } = scene;
  const store = world.storeOf(production);
  const isThere = () => store.current.kind === "newest";
  scene.calm();
  if (!scene.settle() || !scene.runUntil(isThere, 15_000)) return;
  world.referee.idle = true;
  scene.mends.push(() => world.referee.idle = false);
  // Each node must have seen the snapshot, and the leader must not change too late.
  scene.run(chance.between(5_000, 65_000));
  if (!scene.settle() || !isThere()) return;
  world.trace("the store is emptied");
  store.replace();
  if (!scene.runUntil(isThere, emptiedMaxMs)) world.fail("an idle cluster has no snapshot since its store was emptied");
  scene.run(chance.between(1_000, 10_000));
}

/** A read of the store each minute, a snapshot after the interval, and a slow store. */
const emptiedMaxMs = 120_000;

/** A bootstrap list of one cluster names a node of another. */
function mergedGossip(scene: Scene): void {
  const { world, chance } = scene;
  // Before both clusters run, only the bootstrap list shows to which cluster a node belongs.
  if (!scene.settle() || !scene.settle(40_000, neighbours)) return;
  const ours = scene.machines(), theirs = scene.machines(neighbours);
  const wrong = chance.pick([...ours, ...theirs]);
  const target = chance.pick(wrong.owner === production ? theirs : ours);
  const right = wrong.settings.seeds;
  wrong.settings = { ...wrong.settings, seeds: [...right, `${target.address}:7980`] };
  world.trace(`${wrong.name}'s bootstrap list names ${target.name}`);
  world.deliver(wrong, { kind: "settings", settings: wrong.settings });
  const mend = () => {
    wrong.settings = {
      ...wrong.settings,
      seeds: wrong.settings.seeds.filter((seed) => seed !== `${target.address}:7980`),
    };
    // As the hint requests.
    scene.reboot(wrong);
  };
  scene.mends.push(mend);
  scene.run(chance.between(2_000, 8_000));
  if (chance.chance(0.4)) mend();
  const side = chance.pick([ours, theirs]);
  switch (chance.pick(["oneByOne", "all", "loseDisk"])) {
    case "oneByOne":
      for (const machine of side) {
        scene.reboot(machine);
        scene.run(chance.between(2_000, 10_000));
      }
      break;
    case "loseDisk": {
      const [machine] = scene.some(scene.members(side[0]!.owner), 1);
      if (machine !== undefined && side.every(({ disk }) => disk.data !== undefined)) loseDisks(scene, [machine]);
      break;
    }
    default:
      scene.restartAll(side);
  }
  scene.run(chance.between(4_000, 15_000));
}

/** An etcd that runs and never answers; half of them still log. */
function hungEtcd(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle()) return;
  const leader = scene.leader();
  const hung = chance.chance(0.5) && leader !== undefined
    ? world.machines.get(leader.node)!
    : chance.pick(scene.members());
  const member = world.memberOf(hung.name);
  if (member === undefined) return;
  // A starting etcd may read its database for minutes.
  if (!scene.runUntil(() => hung.node?.phase === "serving", 20_000)) return;
  if (world.memberOf(hung.name) !== member) return;
  const logs = chance.chance(0.5);
  world.trace(`${hung.name}'s etcd hangs${logs ? " and logs on" : ""}`);
  world.hang(hung, { logs });
  scene.run(chance.between(1_000, 25_000));
  if (chance.chance(0.5)) {
    const [other] = scene.some(scene.members().filter((machine) => machine !== hung), 1);
    if (other !== undefined) scene.reboot(other, 15_000);
  }
  scene.run(chance.between(3_000, 15_000));
}

/** The manager beside the leader runs and does nothing. */
function hungManager(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle()) return;
  const leader = scene.leader();
  if (leader === undefined) return;
  const hung = world.machines.get(leader.node)!;
  world.pause(hung, false);
  scene.mends.push(() => world.resume(hung));
  scene.run(chance.between(1_000, 10_000));
  const [other] = scene.some(scene.members().filter((machine) => machine !== hung), 1);
  if (other !== undefined && chance.chance(0.7)) loseDisks(scene, [other], 10_000);
  scene.run(chance.between(10_000, 30_000));
}

/** Wall clocks that are wrong by minutes or hours. */
function wrongClock(scene: Scene): void {
  const { world, chance } = scene;
  const hourMs = 3_600_000;
  for (const machine of scene.some(scene.machines(), 1 + chance.below(2))) {
    machine.wallSkewMs = chance.pick([-24, -2, -0.1, 0.1, 2, 24]) * hourMs;
    world.trace(`${machine.name}'s clock is wrong by ${machine.wallSkewMs / hourMs} h`);
    scene.mends.push(() => machine.wallSkewMs = 0);
  }
  scene.run(chance.between(5_000, 15_000));
  const members = scene.members();
  switch (chance.pick(["restart", "majority", "all", "fault"])) {
    case "restart":
      scene.restartAll(scene.machines());
      break;
    case "majority":
      loseDisks(scene, scene.some(members, Math.floor(world.size / 2) + 1));
      break;
    case "all":
      if (world.store.kind === "newest") loseDisks(scene, scene.machines());
      break;
    default:
      scene.faults.fault();
  }
  scene.run(chance.between(4_000, 15_000));
}

/** Survivors with the same revision, only one of which has the last write. */
function differentLogs(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle()) return;
  const leader = scene.leader();
  if (leader === undefined) return;
  const followers = scene.members().filter(({ name }) => name !== leader.node);
  const [behind, ahead] = scene.some(followers, 2);
  if (behind === undefined || ahead === undefined) return;
  scene.run(chance.below(1_000));
  cutApart(scene, new Set([behind.name]));
  const before = world.referee.writesAcked;
  scene.runUntil(() => world.referee.writesAcked > before, 3_000, 10);
  if (world.memberOf(leader.node) !== leader) return void world.cut.clear();
  for (const machine of scene.members()) {
    if (machine === behind || machine === ahead) continue;
    world.kill(machine);
    world.loseDisk(machine);
    scene.bootSoon(machine, 10_000);
  }
  world.trace(`${ahead.name} holds what ${behind.name} does not`);
  world.cut.clear();
  scene.run(scene.pastTheTimeoutMs() + 10_000);
}

/** An operator pauses the cluster; machines join, fail and restart meanwhile. */
function paused(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle()) return;
  const leader = scene.leader();
  if (leader === undefined) return;
  world.operators.send(world.machines.get(leader.node)!, { kind: "pause", dryRun: false });
  scene.run(chance.between(3_000, 12_000));
  for (let i = 1 + chance.below(3); i > 0; i--) {
    const members = scene.members();
    switch (chance.pick(["kill", "loseDisk", "loseMajority", "restart", "joiner"])) {
      case "kill":
        if (members.length > 0) world.kill(chance.pick(members));
        break;
      case "loseDisk":
        loseDisks(scene, scene.some(members, 1));
        break;
      case "loseMajority":
        loseDisks(scene, scene.some(members, Math.floor(world.size / 2) + 1), 30_000);
        break;
      case "joiner": {
        const seeds = scene.machines().map(({ address }) => `${address}:7980`);
        scene.bootSoon(scene.add({ settings: { seeds } }));
        break;
      }
      default:
        scene.restartAll(scene.machines());
    }
    scene.run(chance.between(2_000, 15_000));
  }
  scene.mends.push(() => {
    scene.calm();
    scene.run(5_000);
    const leading = scene.leader();
    for (const machine of leading === undefined ? scene.machines() : [world.machines.get(leading.node)!]) {
      world.operators.send(machine, { kind: "resume", dryRun: false });
    }
    world.referee.evidence.resumed();
  });
}

/** An operator holds recoveries at one node before a majority is lost. */
function held(scene: Scene): void {
  const { world, chance } = scene;
  if (!scene.settle()) return;
  const machine = chance.pick(scene.machines());
  world.operators.hold(machine, true);
  // Without a reply, because the node was killed meanwhile, the operator tries again.
  const release = () => {
    if (machine.heldSinceMs === undefined) return;
    world.operators.hold(machine, false);
    world.at(world.nowMs + 10_000, release);
  };
  scene.mends.push(release);
  scene.run(chance.between(3_000, 8_000));
  loseDisks(scene, scene.some(scene.members(), Math.floor(world.size / 2) + 1));
  scene.run(scene.pastTheTimeoutMs());
}

/** An upgrade whose members are killed and restart with the former version; etcd raises the cluster's version late. */
function upgrade(scene: Scene): void {
  const { world, chance } = scene;
  world.etcds.monitorEveryMs = chance.between(1_000, 20_000);
  if (!scene.settle()) return;
  const leader = scene.leader();
  if (leader === undefined) return;
  world.operators.send(world.machines.get(leader.node)!, { kind: "upgrade", to: "3.7", dryRun: false });
  for (let i = 1 + chance.below(4); i > 0; i--) {
    scene.run(chance.between(200, 12_000));
    const [machine] = scene.some(scene.members(), 1);
    if (machine === undefined) continue;
    world.kill(machine);
    // The unit names the former version, or an operator has already changed it.
    if (chance.chance(0.4)) machine.configuredVersion = "3.7.3";
    scene.bootSoon(machine, 6_000);
  }
  scene.run(chance.between(2_000, 10_000));
}

/** Several members move at once to new addresses, or to each other's. */
function movedTogether(scene: Scene): void {
  const { chance } = scene;
  if (!scene.settle()) return;
  const members = scene.members();
  // One member stays, so that all others can find it.
  const moved = scene.some(members, 2 + chance.below(members.length - 2));
  const addresses = chance.chance(0.5)
    ? moved.map((_, index) => `m${index}`)
    : [...moved.slice(1), moved[0]!].map(({ address }) => address);
  const staggered = chance.chance(0.3);
  scene.move(new Map(moved.map((machine, index) => [machine, addresses[index]!])));
  for (const machine of moved) scene.bootSoon(machine, staggered ? 15_000 : 3_000);
  scene.run(chance.between(4_000, 25_000));
}

const stored: Partial<Settings> = { snapshots: true, quorumLossTimeoutMs: 15_000, snapshotIntervalMs: 3_000 };

export const troubles: Readonly<Record<string, Trouble>> = {
  foreignLife: { settings: stored, play: foreignLife },
  split: { settings: stored, storeless: true, standbys: 2, size: 3, play: split },
  unmounted: { settings: stored, storeless: true, play: unmounted },
  swappedDisks: { settings: stored, storeless: true, play: swappedDisks },
  oldImage: { settings: { ...stored, snapshots: false }, play: oldImage },
  oldQuorum: { settings: stored, standbys: 0, play: oldQuorum },
  clone: { settings: stored, storeless: true, play: clone },
  lateSurvivor: { settings: stored, play: lateSurvivor },
  newClusterStays: { settings: { ...stored, newCluster: "first" }, play: newClusterStays },
  duplicateNames: { settings: stored, storeless: true, play: duplicateNames },
  wrongStore: { settings: stored, play: wrongStore },
  storeEmptied: { settings: stored, play: storeEmptied },
  mergedGossip: { settings: stored, storeless: true, size: 3, standbys: 0, neighbours: true, play: mergedGossip },
  hungEtcd: { settings: stored, storeless: true, play: hungEtcd },
  hungManager: { settings: stored, storeless: true, play: hungManager },
  wrongClock: { settings: { ...stored, restoreMaxAgeMs: 3_600_000 }, play: wrongClock },
  paused: { settings: stored, storeless: true, play: paused },
  held: { settings: stored, storeless: true, play: held },
  upgrade: { settings: stored, storeless: true, play: upgrade },
  movedTogether: { settings: stored, storeless: true, play: movedTogether },
  differentLogs: { settings: { ...stored, snapshots: false }, size: 5, commitsLate: true, play: differentLogs },
};
