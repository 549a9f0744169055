import express from "express";
import { merge, parse } from "./feed";

export const app = express();

app.use(express.text({ type: "*/*", limit: "1mb" }));

app.get("/healthz", (_request, response) => {
  response.send("fine\n");
});

app.post("/merge", (request, response) => {
  response.json(merge(...String(request.body).split("\f").map(parse)));
});
