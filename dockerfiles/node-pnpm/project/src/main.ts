import { serve } from "@hono/node-server";
import pino from "pino";
import { app } from "./app.js";

const log = pino();

serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 4000) }, ({ port }) => log.info({ port }, "listening"));
