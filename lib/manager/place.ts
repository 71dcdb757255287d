/** The folder that a data-dir lies in, looked at before anything in it is opened: others may have been there first. */
import { E2dError } from "../errors.ts";
import type { FileInfo, Files, Logger } from "../ports.ts";
import { lockPath } from "./hold.ts";
import { recordPath } from "./node_record.ts";

/** Where a running node takes commands. */
export const controlPath = (dataDir: string) => `${dataDir}.e2d.sock`;
/** Where what is downloaded or exported lies until it has served: readable for this user alone. */
export const workPath = (dataDir: string) => `${dataDir}.e2d.work`;

const othersMayWrite = 0o002;
const sticky = 0o1000;
const groupOrOthersMayWrite = 0o022;

/**
 * A data-dir that is a symbolic link is followed: that is how operators put it on another disk. A link in the place of
 * e2d's own files beside it was made by somebody else, and what e2d writes would go where it leads: throws E2dError
 * `place_unsafe`. What others can write is warned about: it may be meant so, and a node that is down helps nobody.
 */
export async function checkPlace(dataDir: string, { files, log }: { files: Files; log: Logger }): Promise<void> {
  for (const path of [lockPath(dataDir), recordPath(dataDir), controlPath(dataDir), workPath(dataDir)]) {
    const info = await files.info(path);
    if (info?.kind === "symlink") {
      throw new E2dError("place_unsafe", `Cannot use "${path}": it is a symbolic link`, {
        hint: "e2d makes this file itself and follows no link to it: find out who made the link, then remove it",
      });
    }
    // A socket's mode is set when it is made.
    if ((info?.kind === "file" || info?.kind === "directory") && (info.mode & groupOrOthersMayWrite) !== 0) {
      log.warn("others can write what this node relies on: chmod go-w", { path, mode: octal(info) });
    }
  }
  const slash = dataDir.lastIndexOf("/");
  const folder = await through(dataDir.slice(0, slash) || "/", files);
  if (folder !== undefined && (folder.mode & othersMayWrite) !== 0 && (folder.mode & sticky) === 0) {
    log.warn("everybody can rename what lies in the folder of the data-dir: chmod o-w", {
      path: dataDir.slice(0, slash) || "/",
      mode: octal(folder),
    });
  }
  const data = await through(dataDir, files);
  if (data !== undefined && (data.mode & groupOrOthersMayWrite) !== 0) {
    log.warn("others can write in the data-dir: chmod 700", { path: dataDir, mode: octal(data) });
  }
}

/** What a path leads to: a link itself always says that everybody may do everything. */
const through = (path: string, files: Files): Promise<FileInfo | undefined> =>
  files.info(path, { followLinks: true }).catch(() => undefined);

const octal = ({ mode }: FileInfo) => mode.toString(8).padStart(4, "0");
