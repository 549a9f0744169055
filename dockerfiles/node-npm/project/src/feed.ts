import { XMLParser } from "fast-xml-parser";
import { z } from "zod";

const item = z.object({ title: z.coerce.string(), link: z.string().url(), pubDate: z.coerce.date() });

export type Item = z.infer<typeof item>;

const parser = new XMLParser({ isArray: (name) => name === "item" });

/** The items of an RSS feed; those that lack a title, a link or a date are left out. */
export function parse(text: string): Item[] {
  const found: unknown[] = parser.parse(text)?.rss?.channel?.item ?? [];
  return found.flatMap((candidate) => {
    const result = item.safeParse(candidate);
    return result.success ? [result.data] : [];
  });
}

/** Several feeds as one, the newest item first. */
export function merge(...feeds: Item[][]): Item[] {
  return feeds.flat().sort((a, b) => b.pubDate.getTime() - a.pubDate.getTime());
}
