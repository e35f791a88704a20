// `pretty`: JSON with line breaks, for reading.

/** Longer and deeper texts stay as they are: line breaks would multiply their size. */
const LONGEST = 20_000;
const DEEPEST = 16;

/** Objects and arrays up to this length stay on one line. */
const SHORT = 64;

// Strings, brackets (empty ones as one), commas, colons, and numbers or words.
const TOKENS = /"(?:[^"\\]|\\.)*"|[[{]\s*[\]}]|[[\]{},:]|[^\s[\]{},:"]+/g;

/**
 * The JSON text with line breaks and indentation, otherwise unchanged: a round trip through `JSON.parse` would
 * round large numbers. `undefined` if the text is no JSON object or array.
 */
export function pretty(text) {
  if (text.length > LONGEST || !/^\s*[[{]/.test(text) || !isJson(text)) return undefined;
  const tokens = text.match(TOKENS).map(spaced);
  const ends = shortGroups(tokens);
  let out = "";
  let indent = "\n";
  for (let at = 0; at < tokens.length; at += 1) {
    const token = tokens[at];
    if (ends.has(at)) {
      out += tokens.slice(at, ends.get(at) + 1).join("");
      at = ends.get(at);
    } else if (token === "{" || token === "[") out += token + (indent += "  ");
    else if (token === "}" || token === "]") out += (indent = indent.slice(0, -2)) + token;
    else if (token === ", ") out += `,${indent}`;
    else out += token;
    if (indent.length > 2 * DEEPEST) return undefined;
  }
  return out;
}

function spaced(token) {
  if (token === "," || token === ":") return `${token} `;
  return token[0] === '"' ? token : token.replace(/\s+/, "");
}

/** Where each group ends that fits on one line, by where it begins. */
function shortGroups(tokens) {
  const ends = new Map();
  const open = [];
  let length = 0;
  tokens.forEach((token, at) => {
    if (token === "{" || token === "[") open.push({ at, length });
    length += token.length;
    if (token !== "}" && token !== "]") return;
    const group = open.pop();
    if (length - group.length <= SHORT) ends.set(group.at, at);
  });
  return ends;
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
