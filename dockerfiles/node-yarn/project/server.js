require("dotenv").config();
const { build } = require("./app");

build({ logger: true }).listen({ host: "0.0.0.0", port: Number(process.env.PORT || 8080) });
