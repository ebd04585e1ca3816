/** More points than this are neither animated nor marked one by one: a screen has no place for the marks, and each frame of an animation
 * would draw them all. */
export const pointsMarkedMost = 1000;
