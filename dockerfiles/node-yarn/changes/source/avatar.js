const Color = require("color");
const { escape, startCase } = require("lodash");

function hue(name) {
  let value = 7;
  for (const letter of name) value = (value * 31 + letter.codePointAt(0)) % 360;
  return value;
}

/** A square with the initials of a name, as SVG. */
function avatar(name, size = 96) {
  const initials = startCase(name).split(" ").map((word) => word[0]).join("").slice(0, 2);
  const background = Color.hsl(hue(name), 55, 45);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size}" height="${size}">` +
    `<rect width="100%" height="100%" fill="${background.hex()}"/>` +
    `<text x="50%" y="50%" dy=".35em" text-anchor="middle" fill="${background.isDark() ? "#fff" : "#000"}" ` +
    `font-family="sans-serif" font-size="${size / 2}">${escape(initials)}</text></svg>`
  );
}

module.exports = { avatar };
