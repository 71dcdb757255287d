/** A systemd unit read as far as the tests need it. */
export interface UnitFile {
  /** All values of a setting, in order; a backslash at a line's end joins it with the next. */
  all(name: string): string[];
}

export function parseUnit(text: string): UnitFile {
  const settings = text.replaceAll(/\\\n\s*/g, "").split("\n")
    .filter((line) => /^[A-Z]\w*=/.test(line))
    .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)] as const);
  return { all: (name) => settings.filter(([each]) => each === name).map(([, value]) => value) };
}

/** NAME=VALUE lines of an EnvironmentFile. `examples` takes lines like `#NAME=VALUE` in, too. */
export function parseEnvironmentFile(text: string, { examples = false } = {}): Record<string, string> {
  const pattern = examples ? /^#?([A-Z0-9_]+)=(.*)$/ : /^([A-Z0-9_]+)=(.*)$/;
  return Object.fromEntries(
    text.split("\n").flatMap((line) => {
      const match = pattern.exec(line);
      return match === null ? [] : [[match[1]!, match[2]!]];
    }),
  );
}
