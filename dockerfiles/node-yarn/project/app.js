const fastify = require("fastify");
const { avatar } = require("./avatar");

function build(options) {
  const app = fastify(options);
  app.get("/healthz", async () => "ok");
  app.get("/:name.svg", async (request, reply) => {
    reply.type("image/svg+xml");
    return avatar(request.params.name);
  });
  return app;
}

module.exports = { build };
