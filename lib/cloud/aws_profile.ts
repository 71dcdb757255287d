/** The files in which AWS's tools keep profiles, as far as e2d reads them. Pure. */

export interface AwsProfiles {
  /** Settings of a profile, of both files in one; what the credentials file says wins. Undefined: there is none. */
  get(name: string): Readonly<Record<string, string>> | undefined;
}

/** `credentials` and `config` are the texts of the two files; undefined: the file is not there. */
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
    // Settings of a service stand indented below their name.
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
