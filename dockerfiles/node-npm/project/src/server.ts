import pino from "pino";
import { app } from "./app";

const log = pino();
const port = Number(process.env.PORT ?? 3000);

app.listen(port, () => log.info({ port }, "listening"));
