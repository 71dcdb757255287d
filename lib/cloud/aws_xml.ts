/** Answers of AWS's query interfaces: XML in which a list is an element with `item` or `member` children. Pure. */
import { XMLParser, XMLValidator } from "fast-xml-parser";
import * as v from "valibot";

const parser = new XMLParser({
  // Numbers would lose zeros and signs of names that look like one.
  parseTagValue: false,
  ignoreAttributes: true,
  ignoreDeclaration: true,
  isArray: (name) => name === "item" || name === "member",
});

/** The root element's content. Throws an Error for what is cut or not XML: the parser alone takes both in silence. */
export function parseAwsXml(text: string): unknown {
  if (XMLValidator.validate(text) !== true) throw new Error("not whole XML");
  const document = parser.parse(text) as Record<string, unknown>;
  return Object.values(document)[0];
}

/** A list of any length; an empty or missing element is the empty one. */
export function xmlList<Schema extends v.GenericSchema>(child: "item" | "member", item: Schema) {
  const full = v.pipe(
    v.object({ [child]: v.array(item) }),
    v.transform((list) => list[child] as v.InferOutput<Schema>[]),
  );
  const empty = v.pipe(v.literal(""), v.transform((): v.InferOutput<Schema>[] => []));
  return v.optional(v.union([full, empty]), "");
}

/** Code and message of a refusal, in the form of EC2 or of the others; undefined where there is neither. */
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
