/** Checks who else can write to the data-dir and the files beside it. Runs before any of them is opened. */
import { E2dError } from "../../errors.ts";
import type { FileInfo, Files, Logger } from "../../ports.ts";
import { lockPath } from "./lock.ts";
import { recordPath } from "./node_record.ts";
import { stopsPath } from "./operator_stops.ts";

/** The control socket of a running node. */
export const controlPath = (dataDir: string) => `${dataDir}.e2d.sock`;
/** The folder of temporary databases, readable only for the user of e2d. */
export const workPath = (dataDir: string) => `${dataDir}.e2d.work`;

const othersMayWrite = 0o002;
const sticky = 0o1000;
const groupOrOthersMayWrite = 0o022;

/**
 * Follows a data-dir that is a symbolic link, because operators put it on another disk that way. Throws E2dError
 * `place_unsafe` when one of e2d's own files beside it is a link: e2d never creates one, and would write to its target.
 * Only warns about other owners and permissions, which may be intended: a node that refuses to start reduces redundancy.
 * lib/snapshot/work_folder.ts refuses to put a plaintext database into a folder that others can replace.
 */
export async function checkDataDirPermissions(
  dataDir: string,
  { files, log }: { files: Files; log: Logger },
): Promise<void> {
  const own = [lockPath, recordPath, stopsPath, controlPath, workPath].map((path) => path(dataDir));
  for (const path of own) {
    const info = await files.info(path);
    if (info?.kind === "symlink") {
      throw new E2dError("place_unsafe", `Cannot use "${path}": it is a symbolic link`, {
        hint: "e2d creates this file itself and never as a link: check who created the link, then remove it",
      });
    }
    if (info?.owner === "other") {
      log.warn("another user owns a file of this node: chown it to the user that e2d runs as", { path });
    }
    // A socket gets its mode when it is created.
    if ((info?.kind === "file" || info?.kind === "directory") && (info.mode & groupOrOthersMayWrite) !== 0) {
      log.warn("other users can write to a file of this node: chmod go-w", { path, mode: octal(info) });
    }
  }
  const slash = dataDir.lastIndexOf("/");
  const folder = await followed(dataDir.slice(0, slash) || "/", files);
  if (folder !== undefined && (folder.mode & othersMayWrite) !== 0 && (folder.mode & sticky) === 0) {
    log.warn("every user can rename the data-dir and the files beside it: chmod o-w on the parent folder", {
      path: dataDir.slice(0, slash) || "/",
      mode: octal(folder),
    });
  }
  if (folder?.owner === "other") {
    log.warn("another user owns the parent folder of the data-dir, and can rename the data-dir: chown the folder", {
      path: dataDir.slice(0, slash) || "/",
    });
  }
  const data = await followed(dataDir, files);
  if (data !== undefined && (data.mode & groupOrOthersMayWrite) !== 0) {
    log.warn("other users can write to the data-dir: chmod 700", { path: dataDir, mode: octal(data) });
  }
}

/** The target of a path: the mode of a link itself is always 0777. */
const followed = (path: string, files: Files): Promise<FileInfo | undefined> =>
  files.info(path, { followLinks: true }).catch(() => undefined);

const octal = ({ mode }: FileInfo) => mode.toString(8).padStart(4, "0");
