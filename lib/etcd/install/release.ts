/** Addresses, file names and checksums of the official etcd releases. */
import { E2dError } from "../../errors.ts";
import { pinnedSum } from "./pinned_sums.ts";

/** The project's own download address; `E2D_ETCD_MIRROR` replaces it. */
const officialReleases = "https://github.com/etcd-io/etcd/releases/download";

/** As `Deno.build` names them. */
export interface Platform {
  os: string;
  arch: string;
}

export type ReleaseArch = "amd64" | "arm64";

/** Throws E2dError `etcd_platform` when e2d knows no archive for this platform. */
export function releaseArch({ os, arch }: Platform): ReleaseArch {
  if (os === "linux" && arch === "x86_64") return "amd64";
  if (os === "linux" && arch === "aarch64") return "arm64";
  throw new E2dError("etcd_platform", `Cannot download etcd for "${os}-${arch}": only Linux on x86-64 and arm64`, {
    hint: "install etcd by other means and pass its folder with --etcd-dir",
  });
}

export interface Release {
  version: string;
  arch: ReleaseArch;
  /** The archive's file name, also on mirrors and in checksum lists. */
  archive: string;
  url: string;
  /** The release's checksum list, for versions that are not pinned. */
  sumsUrl: string;
}

/** Throws E2dError `etcd_mirror` for a base address that is not an http or https URL, and `etcd_platform`. */
export function release(version: string, platform: Platform, base: string = officialReleases): Release {
  const arch = releaseArch(platform);
  const archive = `etcd-v${version}-linux-${arch}.tar.gz`;
  const folder = `${checkedBase(base)}/v${version}`;
  return { version, arch, archive, url: `${folder}/${archive}`, sumsUrl: `${folder}/SHA256SUMS` };
}

function checkedBase(base: string): string {
  const url = URL.parse(base);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.search !== "" || url.hash !== "") {
    throw new E2dError("etcd_mirror", `Cannot download etcd from "${base}": it is not an http or https URL`, {
      hint: `set E2D_ETCD_MIRROR to a folder that holds v<version>/etcd-v<version>-linux-<arch>.tar.gz`,
    });
  }
  return base.replace(/\/+$/, "");
}

/** Undefined when only the release's own checksum list has it. */
export function pinnedReleaseSum({ version, arch }: Release): string | undefined {
  return pinnedSum(version, arch);
}

/**
 * The checksum of an archive in a `SHA256SUMS` list of `sha256sum` ("<64 hex>  name", in binary mode "*name"). Undefined
 * when the list does not contain the archive.
 */
export function sumInList(list: string, archive: string): string | undefined {
  for (const line of list.split("\n")) {
    const match = /^([0-9a-fA-F]{64}) [ *](\S+)\s*$/.exec(line);
    if (match?.[2]?.replace(/^\.\//, "") === archive) return match[1]!.toLowerCase();
  }
  return undefined;
}
