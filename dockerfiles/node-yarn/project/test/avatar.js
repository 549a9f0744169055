const assert = require("node:assert");
const { avatar } = require("../avatar");

describe("avatar", () => {
  it("has the initials", () => assert.match(avatar("ada lovelace"), />AL</));
});
