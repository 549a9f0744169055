import convert from "convert-units";
import { Hono } from "hono";

export const app = new Hono();

app.get("/kinds", (context) => context.json(convert().measures()));

app.get("/:value/:from/:to", (context) => {
  const { value, from, to } = context.req.param();
  try {
    const found = convert(Number(value)).from(from as convert.Unit).to(to as convert.Unit);
    return context.json({ value: found, unit: to });
  } catch (error) {
    return context.json({ error: String(error) }, 400);
  }
});
