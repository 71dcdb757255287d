/** Parses the profile files of AWS's tools, as far as e2d uses them. Pure. */

export interface AwsProfiles {
  /** Merged settings of a profile; the credentials file takes precedence. Undefined: the profile does not exist. */
  get(name: string): Readonly<Record<string, string>> | undefined;
}

/** `credentials` and `config` are the texts of the two files; undefined: the file does not exist. */
export function parseAwsProfiles(
  { credentials, config }: { credentials: string | undefined; config: string | undefined },
): AwsProfiles {
  const inConfig = sections(
    config ?? "",
    (title) =>
      title === "default" ? title : /^profile\s+(.+)$/.exec(title)?.[1]?.trim().replace(/^(["'])(.*)\1$/, "$2"),
  );
  const inCredentials = sections(credentials ?? "", (title) => title);
  return {
    get(name) {
      const [a, b] = [inConfig.get(name), inCredentials.get(name)];
      return a === undefined && b === undefined ? undefined : { ...a, ...b };
    },
  };
}

function sections(text: string, profileOf: (title: string) => string | undefined): Map<string, Record<string, string>> {
  const found = new Map<string, Record<string, string>>();
  let settings: Record<string, string> | undefined;
  for (const line of text.split(/\r?\n/)) {
    // Skips the indented settings of a service.
    if (/^\s|^$|^[#;]/.test(line)) continue;
    const title = /^\[([^\]]*)\]/.exec(line)?.[1];
    if (title !== undefined) {
      const profile = profileOf(title.trim());
      settings = profile === undefined ? undefined : found.get(profile) ?? {};
      if (profile !== undefined) found.set(profile, settings!);
      continue;
    }
    const equals = line.indexOf("=");
    if (settings === undefined || equals < 1) continue;
    settings[line.slice(0, equals).trim().toLowerCase()] = line.slice(equals + 1).replace(/\s[#;].*$/, "").trim();
  }
  return found;
}
