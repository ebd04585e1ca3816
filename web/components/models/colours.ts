/** Tokens of the models of a comparison, in their order: far apart in hue and in lightness. */
export const modelColours = ["class-3", "class-1", "accent", "class-0", "class-4"];
