/** Responses of AWS's query APIs: XML in which a list is an element with `item` or `member` children. Pure. */
import { XMLParser, XMLValidator } from "fast-xml-parser";
import * as v from "valibot";

const parser = new XMLParser({
  // As numbers, names such as "007" would lose their leading zeros.
  parseTagValue: false,
  ignoreAttributes: true,
  ignoreDeclaration: true,
  isArray: (name) => name === "item" || name === "member",
});

/** The root element's content. Throws an Error for truncated or invalid XML, which the parser alone accepts. */
export function parseAwsXml(text: string): unknown {
  if (XMLValidator.validate(text) !== true) throw new Error("not whole XML");
  const document = parser.parse(text) as Record<string, unknown>;
  return Object.values(document)[0];
}

/** The schema of a list; an empty or missing element is an empty list. */
export function xmlList<Schema extends v.GenericSchema>(child: "item" | "member", item: Schema) {
  const full = v.pipe(
    v.object({ [child]: v.array(item) }),
    v.transform((list) => list[child] as v.InferOutput<Schema>[]),
  );
  const empty = v.pipe(v.literal(""), v.transform((): v.InferOutput<Schema>[] => []));
  return v.optional(v.union([full, empty]), "");
}

/** Code and message of an error response, in the format of EC2 or of the other services; undefined for other texts. */
export function awsErrorOf(text: string): { code: string; message: string } | undefined {
  let root: unknown;
  try {
    root = parseAwsXml(text);
  } catch {
    return undefined;
  }
  const error = v.object({ Code: v.string(), Message: v.optional(v.string(), "") });
  const forms = v.union([
    v.pipe(v.object({ Errors: v.object({ Error: error }) }), v.transform(({ Errors }) => Errors.Error)),
    v.pipe(v.object({ Error: error }), v.transform(({ Error }) => Error)),
  ]);
  const parsed = v.safeParse(forms, root);
  return parsed.success ? { code: parsed.output.Code, message: parsed.output.Message } : undefined;
}
